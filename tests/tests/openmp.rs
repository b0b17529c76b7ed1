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

/// In a cell alone: on as many threads as the cell has cores, with nothing wrong.
fn in_the_cell(language: Language, section: &str) {
    let outcome = case(language, section, 2).env("OMP_PLACES", "cores").cell();
    let text = outcome.out();
    assert!(text.ends_with("end\n"), "{outcome}");
    let expected = match section {
        "places" => ["omp_get_num_places() = 2", "wrong = 0"],
        _ => ["omp_get_num_procs() = 2", "threads = 2"],
    };
    expected.iter().for_each(|line| assert!(text.contains(line), "{line}: {outcome}"));
}

macro_rules! runtimes {
    ($($runtime:ident: $language:expr;)+) => {
        $(mod $runtime {
            use super::*;

            fn same(section: &str) {
                if platform::is_partition() && section == "regions" {
                    // Natively there are more processors than in the cell.
                    return in_the_cell($language, section);
                }
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
                        if platform::is_partition() {
                            // Processors 0 and 1 are not the cell's.
                            in_the_cell($language, "places");
                            continue;
                        }
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
