use regex::Regex;
use serde::Deserialize;

/// Interfaces that are left alone: their names match one of these patterns.
#[derive(Clone, Debug, Default)]
pub struct Exclusion(Vec<Regex>);

/// A file of excluded interfaces is no such file.
#[derive(Debug, thiserror::Error)]
pub enum ExclusionError {
    /// It isn't YAML, or has another form.
    #[error("it isn't a mapping with a list of patterns under announcedInterfacesToExclude: {0}")]
    Form(String),
    /// An entry isn't a regular expression.
    #[error("{pattern:?} under announcedInterfacesToExclude isn't a regular expression: {why}")]
    Pattern {
        /// The entry.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What MetalLB installs.
const METALLB_DEFAULT: [&str; 14] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];

#[derive(Default, Deserialize)]
struct File {
    #[serde(rename = "announcedInterfacesToExclude", default)]
    patterns: Option<Vec<String>>,
}

impl Exclusion {
    /// The patterns that MetalLB installs: bridges and pairs of container runtimes, and the loopback.
    pub fn metallb_default() -> Exclusion {
        // They are regular expressions; a test compiles them.
        Exclusion(METALLB_DEFAULT.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect())
    }

    /// Reads MetalLB's `excludel2.yaml`: a list of regular expressions under `announcedInterfacesToExclude`, each of which
    /// may match anywhere in a name. An empty file excludes nothing.
    ///
    /// # Errors
    /// The text has another form, or an entry isn't a regular expression.
    pub fn parse(text: &str) -> Result<Exclusion, ExclusionError> {
        let file: Option<File> =
            serde_saphyr::from_str(text).map_err(|e| ExclusionError::Form(one_line(&e.to_string())))?;
        let patterns = file.unwrap_or_default().patterns.unwrap_or_default().into_iter().map(|pattern| {
            Regex::new(&pattern)
                .map_err(|e| ExclusionError::Pattern { pattern, why: one_line(&e.to_string()) })
        });
        Ok(Exclusion(patterns.collect::<Result<_, _>>()?))
    }

    /// Whether an interface of this name is left alone.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(name))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<&str>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metallbs_patterns_leave_out_what_they_say() {
        let default = Exclusion::metallb_default();
        assert_eq!(default.0.len(), METALLB_DEFAULT.len());
        for name in ["docker0", "veth1a2b", "lo", "cali123", "cni0", "kube-ipvs0", "lxcbr0", "nodelocaldns"] {
            assert!(default.matches(name), "{name}");
        }
        for name in ["eth0", "lo1", "ens18", "bond0.100", "br-lan", "mydocker0", ""] {
            assert!(!default.matches(name), "{name}");
        }
    }

    #[test]
    fn files_are_read_as_metallb_reads_them() {
        let file = "announcedInterfacesToExclude: [\"^docker.*\", \"bond\"]\n";
        let read = Exclusion::parse(file).unwrap();
        assert!(read.matches("docker1") && read.matches("mybond0") && !read.matches("eth0"));
        for nothing in ["", "announcedInterfacesToExclude: []", "announcedInterfacesToExclude:", "{}"] {
            assert!(!Exclusion::parse(nothing).unwrap().matches("lo"), "{nothing:?}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |text: &str| Exclusion::parse(text).unwrap_err().to_string();
        assert!(error("announcedInterfacesToExclude: [\"a(\"]").starts_with("\"a(\" under"));
        for text in ["[]", "announcedInterfacesToExclude: 3", "a: [", "announcedInterfacesToExclude: [[]]"] {
            assert!(error(text).starts_with("it isn't a mapping"), "{text}: {}", error(text));
            assert!(!error(text).contains('\n'));
        }
    }
}
