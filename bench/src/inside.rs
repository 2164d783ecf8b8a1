//! What is inside a verification, without HTTP: the digest of a token, and looks at the session table as it grows, by
//! criterion. A program of its own, for it has the product's allocator, and the yardsticks must not. `bench/run inside` runs it
//! and reports what it says.

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use doorward_domain::{
    clock::Timestamp,
    credential::{PlainToken, TokenDigest},
    id::{OrganisationId, UnitId, UserId},
    session::{Identity, Method, Scope, Session, SessionNumber},
    session_table::SessionTable,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SESSIONS_PER_USER: u64 = 10;
/// How many tokens are asked about at once.
const BATCH: usize = 1_000;

fn token(number: u64) -> PlainToken {
    PlainToken::parse(format!("{number:032X}").as_bytes()).expect("32 digits are a token")
}

fn id(kind: u8, number: u64) -> [u8; 16] {
    // The last bytes of an id are random; these are as evenly spread.
    let mut id = [kind; 16];
    id[8..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    id
}

fn insert(table: &SessionTable, number: u64, user: u64) {
    let session = Session {
        digest: token(number).digest(),
        issued_at: NOW,
        last_used_at: NOW,
        idle: Some(Duration::from_hours(1)),
        ends_at: NOW.plus(Duration::from_hours(24 * 30)),
    };
    let (organisation, unit) = (user % 100, user % 1_000);
    let identity = Identity {
        organisation: OrganisationId::from_bytes(id(1, organisation)),
        organisation_code: format!("ORGANISATION{organisation}"),
        is_operator: false,
        unit: UnitId::from_bytes(id(2, unit)),
        unit_name: format!("unit {unit}"),
        user: UserId::from_bytes(id(3, user)),
        username: format!("user{user}@example.com"),
        method: Method::Password,
    };
    table.insert(SessionNumber(number + 1), &session, &identity);
}

fn filled(sessions: u64) -> SessionTable {
    let table = SessionTable::default();
    (0..sessions).for_each(|number| insert(&table, number, number / SESSIONS_PER_USER));
    table
}

/// Numbers below a bound in no order.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

fn digests(criterion: &mut Criterion) {
    let token = token(1);
    criterion.bench_function("digest of a token", |bencher| bencher.iter(|| black_box(&token).digest()));
}

fn looks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look");
    let most = std::env::var("SESSIONS_UP_TO").ok().and_then(|most| most.parse().ok()).unwrap_or(1_000_000);
    for sessions in [1_000, 10_000, 100_000, 1_000_000, 10_000_000].into_iter().filter(|it| *it <= most) {
        let table = filled(sessions);
        let mut random = Random(sessions);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("one", sessions), |bencher| {
            let digest = || token(random.below(sessions)).digest();
            bencher.iter_batched(
                digest,
                |digest| table.look(&digest, NOW, true, |live| Some(live.expires_at)),
                BatchSize::SmallInput,
            );
        });
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::new("a thousand at once", sessions), |bencher| {
            let digests = || -> Vec<Option<TokenDigest>> {
                (0..BATCH).map(|_| Some(token(random.below(sessions)).digest())).collect()
            };
            bencher.iter_batched(
                digests,
                |digests| table.look_at_all(&digests, NOW, true, |live| live.is_some()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn endings(criterion: &mut Criterion) {
    let table = SessionTable::default();
    (0..100_000).for_each(|number| insert(&table, number, 1));
    let user = UserId::from_bytes(id(3, 1));
    criterion.bench_function("end of a user's 100,000 sessions", |bencher| {
        bencher.iter(|| table.end(Scope::User(user), SessionNumber(100_000)));
    });
}

criterion_group! {
    name = inside;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = digests, looks, endings
}
criterion_main!(inside);
