//! OpenMP with both runtimes that Debian has, on two cores and on one.

use std::time::Duration;
use tacet_tests::{Case, Language, build, node, platform};

fn case(language: Language, section: &str, cores: usize) -> Case {
    let case = Case::new(build(language, "omp.c")).arg(section).limit(Duration::from_secs(120));
    let available = node::core_count().min(cores);
    // Natively too: the number of threads is that of the processors.
    let list = (0..available).map(|core| core.to_string()).collect::<Vec<_>>().join(",");
    match platform::is_partition() {
        true => case.env("OMP_NUM_THREADS", "2").options(platform::cores(available)),
        false => case.launcher(["taskset", "-c", &list]).options(platform::cores(available)),
    }
}

macro_rules! runtimes {
    ($($runtime:ident: $language:expr;)+) => {
        $(mod $runtime {
            use super::*;

            fn same(section: &str) {
                let compared = case($language, section, 2).assert_same();
                assert!(compared.native.out().ends_with("end\n"), "{}", compared.native);
            }

            #[test]
            fn regions() {
                same("regions");
            }

            #[test]
            fn schedules() {
                same("schedules");
            }

            #[test]
            fn tasks() {
                same("tasks");
            }

            #[test]
            fn nested() {
                same("nested");
            }

            #[test]
            fn time() {
                same("time");
            }

            /// Sixteen threads on two cores, which come together again and again.
            #[test]
            fn more_threads_than_cores() {
                same("many");
            }

            #[test]
            fn more_threads_than_cores_that_never_sleep() {
                for policy in ["active", "passive"] {
                    let case = case($language, "many", 2).env("OMP_WAIT_POLICY", policy).env("OMP_NUM_THREADS", "6");
                    case.assert_same();
                }
            }

            #[test]
            fn threads_that_wait_by_looking() {
                same("spinning");
            }

            #[test]
            fn threads_that_wait_by_looking_on_one_core() {
                case($language, "spinning", 1).assert_same();
            }

            #[test]
            fn places() {
                for places in ["cores", "threads", "{0},{1}"] {
                    for bind in ["close", "spread", "true"] {
                        let case = case($language, "places", 2).env("OMP_PLACES", places);
                        case.env("OMP_PROC_BIND", bind).ignore_stderr().assert_same();
                    }
                }
            }
        })+
    };
}

runtimes! {
    gnu: Language::OpenMp;
    llvm: Language::OpenMpLlvm;
}
