//! Golden plans: files in `tests/plans/`, one for each test, with a part for each of its cases.
//!
//! `BLESS=1 cargo test --test plan` writes what the plans are now; the difference is then for you to read.

use super::{derive, plan};
use overlayd_core::kernel::inputs::Inputs;
use overlayd_core::kernel::observed::Observed;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plans")
}

/// The cases of one test; they are compared with its file at the end of the test, all of them with all of it.
pub(crate) struct Golden {
    test: &'static str,
    text: String,
}

impl Golden {
    pub(crate) fn of(test: &'static str) -> Self {
        let text = String::new();
        Self { test, text }
    }

    /// The plan that makes `observed` what `inputs` ask for.
    pub(crate) fn plan(&mut self, case: &str, inputs: &Inputs, observed: &Observed) {
        self.text(case, &plan(&derive(inputs), observed));
    }

    pub(crate) fn text(&mut self, case: &str, lines: &[String]) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&format!("## {case}\n"));
        for line in lines {
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }
}

impl Drop for Golden {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let file = folder().join(self.test).with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&file, &self.text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            golden == self.text,
            "{}, where `BLESS=1 cargo test --test plan` writes what is now:\n{}",
            file.display(),
            self.text
        );
    }
}

#[test]
fn every_golden_file_has_its_test() {
    let sources = [include_str!("main.rs"), include_str!("firewall.rs")].concat();
    let mut found = 0;
    for file in std::fs::read_dir(folder()).unwrap() {
        let file = file.unwrap().path();
        let test = file.file_stem().unwrap().to_string_lossy();
        assert!(
            sources.contains(&format!("Golden::of(\"{test}\")")),
            "no test uses {}",
            file.display()
        );
        found += 1;
    }
    assert_eq!(found, sources.matches("Golden::of(\"").count(), "a file for each test");
}
