use super::*;

const ACME: OrganisationId = OrganisationId::from_bytes([0xAC; 16]);

fn record(number: u64, previous: ChainDigest) -> StoredRecord {
    StoredRecord {
        organisation: Some(ACME),
        number,
        previous,
        at: Timestamp::from_millis(1_795_491_362_120),
        event: "password_login".into(),
        reason: "wrong_password".into(),
        address: Some("192.0.2.7".into()),
        request_id: "R1".into(),
        unit: None,
        user: Some(UserId::from_bytes([0x0F; 16])),
        key: None,
        claimed: None,
        actor: None,
        session: None,
        members: None,
    }
}

/// A chain of three records, and its end.
fn chain() -> (Vec<StoredRecord>, Link) {
    let mut end = Link::BEGINNING;
    let mut records = Vec::new();
    for number in 1..=3 {
        records.push(record(number, end.digest));
        end = records[records.len() - 1].link();
    }
    (records, end)
}

fn check(records: &[StoredRecord], begin: Link, last: Link) -> Result<(), Broken> {
    let mut check = ChainCheck::begin(Some(ACME), begin);
    records.iter().try_for_each(|record| check.next(record))?;
    check.finish(last)
}

/// The digest is a promise to those who check exported records with programs of their own: `docs/audit.md`.
#[test]
fn s2_the_digest_is_the_documented_one() {
    let mut told = vec![0_u8; 32];
    let mut add = |text: Option<&str>| match text {
        Some(text) => {
            told.extend((text.len() as u32).to_be_bytes());
            told.extend(text.as_bytes());
        }
        None => told.extend([0xFF; 4]),
    };
    for text in [
        Some("ACACACACACACACACACACACACACACACAC"),
        Some("1"),
        Some("1795491362120"),
        Some("password_login"),
        Some("wrong_password"),
        Some("192.0.2.7"),
        Some("R1"),
        None,
        Some("0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F0F"),
        None,
        None,
        None,
        None,
        None,
    ] {
        add(text);
    }
    let digest = record(1, ChainDigest::BEGINNING).digest();
    assert_eq!(digest.as_bytes()[..], Sha256::digest(&told)[..]);
    assert_eq!(digest.to_string().parse(), Ok(digest));
    for wrong in ["", "00", &"G".repeat(64), &"0".repeat(65)] {
        assert_eq!(wrong.parse::<ChainDigest>(), Err(InvalidDigest), "{wrong}");
    }
}

#[test]
fn s2_a_sound_chain_passes_and_each_break_has_its_name() {
    let (records, last) = chain();
    assert_eq!(check(&records, Link::BEGINNING, last), Ok(()));
    assert_eq!(check(&records[1..], records[0].link(), last), Ok(()), "the first was removed by age");
    let broken = |records: &[StoredRecord]| check(records, Link::BEGINNING, last).unwrap_err();
    assert_eq!(broken(&records[1..]), Broken::Missing { from: 1, to: 1 });
    assert_eq!(broken(&records[..1]), Broken::Missing { from: 2, to: 3 });
    assert_eq!(broken(&[]), Broken::Missing { from: 1, to: 3 });
    let [one, two, three] = [records[0].clone(), records[1].clone(), records[2].clone()];
    assert_eq!(broken(&[one.clone(), one.clone()]), Broken::Misplaced { number: 1 });
    let mut altered = records.clone();
    altered[1].reason = "ok".into();
    assert_eq!(broken(&altered), Broken::Altered { number: 3 });
    altered[1].organisation = None;
    assert_eq!(broken(&altered), Broken::Foreign { number: 2 });
    let fake = StoredRecord { reason: "ok".into(), ..three };
    assert_eq!(broken(&[one, two, fake.clone()]), Broken::LastAltered { number: 3 });
    let more = [records, vec![record(4, last.digest)]].concat();
    assert_eq!(broken(&more), Broken::TooMany { number: 3 });
}

#[test]
fn s2_a_record_that_was_noted_must_be_as_it_was() {
    let (records, last) = chain();
    let check = |noted: Link| {
        let mut check = ChainCheck::begin(Some(ACME), Link::BEGINNING).passes(noted);
        records.iter().try_for_each(|record| check.next(record))?;
        check.finish(last)
    };
    assert_eq!(check(records[1].link()), Ok(()));
    let other = Link { number: 2, digest: last.digest };
    let found = records[1].digest();
    assert_eq!(check(other), Err(Broken::NotAsNoted { number: 2, found, noted: last.digest }));
    assert_eq!(check(Link { number: 5, ..last }), Err(Broken::Missing { from: 4, to: 5 }));
}

/// Whoever removes records can say that their time was over; what was noted of them tells otherwise.
#[test]
fn s2_a_record_that_was_noted_and_is_gone_does_not_pass() {
    let (records, last) = chain();
    let check = |noted: Link| {
        let mut check = ChainCheck::begin(Some(ACME), records[1].link()).passes(noted);
        check.next(&records[2])?;
        check.finish(last)
    };
    assert_eq!(check(records[1].link()), Ok(()), "the last that was removed is kept by its digest");
    let (other, found) = (Link { digest: last.digest, ..records[1].link() }, records[1].digest());
    assert_eq!(check(other), Err(Broken::NotAsNoted { number: 2, found, noted: last.digest }));
    assert_eq!(check(records[0].link()), Err(Broken::NotKept { number: 1 }));
}
