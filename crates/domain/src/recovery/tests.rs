//! Every way of being locked out, and what is left of it.

use super::*;
use crate::{id::UnitId, journal::Entry, passwords::PasswordHash};

const ORGANISATION: OrganisationId = OrganisationId::from_bytes([1; 16]);
const USER: UserId = UserId::from_bytes([2; 16]);
const SPARE: UnitId = UnitId::from_bytes([9; 16]);
const STATUSES: [Status; 2] = [Status::Active, Status::Disabled];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn unit(id: u8, status: Status) -> Unit {
    Unit { id: UnitId::from_bytes([id; 16]), name: name(&format!("unit {id}")), status }
}

/// Works through all combinations of what can be stored of somebody.
fn all() -> Vec<LockedOut> {
    let mut all = Vec::new();
    let bits = |number: u32, bit: u32| STATUSES[(number >> bit & 1) as usize];
    for number in 0..1 << 9 {
        let units: Vec<_> =
            [unit(11, bits(number, 0)), unit(12, bits(number, 1))][..(number >> 2) as usize % 3].to_vec();
        let default = [None, Some(0), Some(1)][(number >> 4) as usize % 3];
        let is_new = number >> 8 & 1 == 1;
        let (role, status) = if number >> 6 & 1 == 1 && !is_new {
            (Role::Member, Status::Disabled)
        } else {
            (Role::Administrator, bits(number, 5))
        };
        let user = User {
            id: USER,
            username: name("admin"),
            person_name: None,
            email: None,
            role,
            status: if is_new { Status::Active } else { status },
            units: if is_new { Vec::new() } else { units.iter().map(|unit| unit.id).collect() },
            default_unit: default
                .filter(|_| !is_new)
                .and_then(|place| units.get(place))
                .map(|unit: &Unit| unit.id),
        };
        let status = bits(number, 7);
        all.push(LockedOut {
            organisation: Organisation {
                id: ORGANISATION,
                code: name("ACME"),
                name: "Acme".into(),
                is_operator: true,
                status,
            },
            overrides: Overrides::new(),
            user,
            is_new,
            units: if is_new { Vec::new() } else { units },
            spare: Unit { id: SPARE, name: name("spare"), status: bits(number, 3) },
            is_spare_new: number >> 4 & 1 == 1,
        });
    }
    all
}

fn password() -> NewPassword {
    NewPassword { hash: PasswordHash::from_stored("hash".into()), must_change: false }
}

/// Makes the changes as storage would, and refuses what storage would refuse.
fn apply(before: &LockedOut, recovery: &Recovery) -> (Organisation, Vec<Unit>, User, Overrides) {
    let (mut organisation, mut units) = (before.organisation.clone(), before.units.clone());
    let mut user = (!before.is_new).then(|| before.user.clone());
    let mut overrides = before.overrides.clone();
    if !before.is_spare_new {
        units.push(before.spare.clone());
    }
    let mut passwords = 0;
    for entry in &recovery.entries {
        let Entry::Change { change, once: None, audit } = entry else { panic!("{entry:?}") };
        assert_eq!((audit.organisation, audit.actor), (Some(ORGANISATION), None));
        assert_eq!((&audit.origin, audit.reason), (&Origin::default(), Reason::Ok));
        match change.clone() {
            Change::UpdateOrganisation { organisation: new, .. } => organisation = new,
            Change::SetRules { overrides: new, .. } => overrides = new,
            Change::CreateUnit { unit, .. } => {
                assert!(units.iter().all(|other| other.id != unit.id), "{unit:?} is there");
                units.push(unit);
            }
            Change::UpdateUnit { unit, .. } => {
                let stored = units.iter_mut().find(|stored| stored.id == unit.id);
                *stored.expect("it is there") = unit;
            }
            Change::CreateUser { user: new, password: Some(_), .. } => {
                assert!(user.is_none() && audit.event == Event::Recovered);
                passwords += 1;
                user = Some(new);
            }
            Change::UpdateUser { user: new, .. } => {
                assert!(user.is_some() && !audit.members.is_empty());
                user = Some(new);
            }
            Change::SetPassword { user: id, replaces: None, .. } => {
                assert!(user.is_some() && id == USER && audit.user == Some(USER));
                assert_eq!(audit.event, Event::Recovered);
                passwords += 1;
            }
            change => panic!("{change:?}"),
        }
    }
    assert_eq!(passwords, 1);
    (organisation, units, user.expect("a user"), overrides)
}

#[test]
fn whatever_locks_somebody_out_they_can_log_in_afterwards() {
    for found in all() {
        let recovery = recover(found.clone(), password(), false, Timestamp::from_millis(7));
        let (organisation, units, user, _) = apply(&found, &recovery);
        let default = units.iter().find(|unit| Some(unit.id) == user.default_unit);
        let is_usable = organisation.status == Status::Active
            && user.status == Status::Active
            && user.role == Role::Administrator
            && default.is_some_and(|unit| unit.status == Status::Active && user.units.contains(&unit.id));
        assert!(is_usable, "{found:?} became {organisation:?} {units:?} {user:?}");
        for before in &found.user.units {
            assert!(user.units.contains(before), "no unit is taken away");
        }
        let told = recovery.repairs.len();
        let extra = recovery.entries.len() - 1;
        assert!(told >= extra.min(1), "{extra} changes more, and nothing told of {found:?}");
    }
}

#[test]
fn what_is_in_order_is_left_alone() {
    let found = LockedOut {
        units: vec![unit(11, Status::Active), unit(12, Status::Disabled)],
        user: User {
            units: vec![unit(11, Status::Active).id, unit(12, Status::Disabled).id],
            ..all()[0].user.clone()
        },
        ..all()[0].clone()
    };
    let mut in_order = found.clone();
    in_order.user.default_unit = Some(unit(11, Status::Active).id);
    let recovery = recover(in_order, password(), true, Timestamp::from_millis(7));
    assert_eq!((recovery.entries.len(), recovery.repairs.len()), (1, 0), "the password alone");
    let recovery = recover(found, password(), false, Timestamp::from_millis(7));
    assert_eq!(recovery.repairs, [Repair::UnitMadeDefault(name("unit 11"))], "and not the disabled one");
}

#[test]
fn address_rules_are_reset_when_it_is_asked_for_and_no_others() {
    let deny = Rule::AddressesDeny.read("0.0.0.0/0,::/0").unwrap();
    let length = Rule::PasswordsMinLength.read("20").unwrap();
    let overrides =
        Overrides::from([(Rule::AddressesDeny, deny), (Rule::PasswordsMinLength, length.clone())]);
    let local = "127.0.0.1".parse().unwrap();
    let configured = Rules::default();
    assert_eq!(refusing(&configured, &overrides, local), Some(Refusing::Organisation));
    assert_eq!(refusing(&configured, &Overrides::new(), local), None);
    assert_eq!(
        refusing(&configured.with(&overrides), &Overrides::new(), local),
        Some(Refusing::Configuration)
    );

    let found = LockedOut { overrides: overrides.clone(), ..all()[0].clone() };
    let kept = recover(found.clone(), password(), false, Timestamp::from_millis(7));
    assert_eq!(apply(&found, &kept).3, overrides);
    let reset = recover(found.clone(), password(), true, Timestamp::from_millis(7));
    assert_eq!(apply(&found, &reset).3, Overrides::from([(Rule::PasswordsMinLength, length)]));
    assert!(reset.repairs.contains(&Repair::AddressesReset), "{:?}", reset.repairs);
}
