//! Memory: what the calls return, what the memory holds, what touching it does.

use tacet_tests::{Case, Language, build, platform};

tacet_tests::sections!("memory.c":
    brk, anonymous, fixed, anywhere, file_private, file_shared, file_shrunk, protect, remap, remap_alone, advise, advise_file, reserve, stack, limits, errors);

#[test]
fn resident() {
    // On bare cores the pages of files are pinned when they are mapped: all are in memory.
    if !platform::is_partition() {
        Case::new(build(Language::C, "memory.c")).arg("resident").assert_same();
    }
}
