//! Names: nothing panics, and a canonical name is its own canonical form (M4).
#![no_main]

use doorward_domain::name::{CanonicalName, InvalidName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    let Ok(once) = CanonicalName::new(name) else { return };
    match CanonicalName::new(once.as_str()) {
        Ok(twice) => assert_eq!(twice, once, "from {name:?}"),
        // One character may become many.
        Err(error) => {
            assert_eq!(error, InvalidName::TooLong, "from {name:?}");
            assert!(once.as_str().chars().count() > CanonicalName::MAX_CHARACTERS, "from {name:?}");
        }
    }
});
