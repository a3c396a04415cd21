//! Histories of right objects pass.

use crate::objects::Object;
use crate::simulate::{Shape, simulate};
use jepsen::checker::wgl::{Budget, check};
use jepsen::model::{AppendList, Directory, Mutex, Register, Tree};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

fn passes<T: Object>(seed: u64, shape: Shape) -> Result<(), TestCaseError> {
    let history = simulate::<T>(&mut StdRng::seed_from_u64(seed), shape);
    let result = check(&T::model(), &history, Budget::default());
    prop_assert!(result.is_ok(), "{result}");
    Ok(())
}

fn shape() -> impl Strategy<Value = Shape> {
    let numbers = (0..120_usize, 1..9_usize, 1..4_u64, 0..15_u32, 0..15_u32);
    numbers.prop_map(|(operations, processes, keys, unknown, failed)| Shape {
        operations,
        processes,
        keys,
        unknown_percent: unknown,
        failed_percent: failed,
    })
}

macro_rules! for_objects {
    ($($name:ident: $object:ty,)*) => {
        proptest! {
            #![proptest_config(ProptestConfig {
                cases: 400,
                failure_persistence: None,
                ..ProptestConfig::default()
            })]
            $(
                #[test]
                fn $name(seed in any::<u64>(), shape in shape()) {
                    passes::<$object>(seed, shape)?;
                }
            )*
        }
    };
}

for_objects! {
    a_right_register_passes: Register,
    a_right_directory_passes: Directory,
    a_right_mutex_passes: Mutex,
    a_right_list_passes: AppendList,
    a_right_tree_passes: Tree,
}
