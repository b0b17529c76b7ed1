//! Whether Linux keeps even root from the machine itself, as it does after a secure boot.

use std::path::Path;

/// The mode of lockdown in force: `none`, `integrity` or `confidentiality`; `None` where Linux
/// has no such thing (kernel_lockdown(7)).
pub fn mode(root: &Path) -> Option<String> {
    let text = std::fs::read_to_string(root.join("sys/kernel/security/lockdown")).ok()?;
    super::pages::selected(&text).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn modes() {
        let root = Fixture::new();
        assert_eq!(mode(root.path()), None);
        root.file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        assert_eq!(mode(root.path()).as_deref(), Some("integrity"));
    }
}
