//! Flags as Go programs take them, for the roles that MetalLB's command lines are given to.
//!
//! Go reads `-port=7472`, `--port=7472`, `-port 7472` and `--port 7472` alike; a flag that is on or off takes a value only
//! with `=`. Words are made such that the ordinary parser reads them.

use std::ffi::OsString;

/// The roles whose flags are read so.
const ROLES: [&str; 2] = ["controller", "speaker"];

/// The command line, with `-flag` written `--flag` where a role follows the program's name.
pub fn normalise(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    if words.get(1).is_none_or(|role| !ROLES.iter().any(|known| role == known)) {
        return words;
    }
    for word in words.iter_mut().skip(2) {
        if word == "--" {
            break;
        }
        let Some(text) = word.to_str() else { continue };
        let long = text.strip_prefix('-').filter(|rest| !rest.starts_with('-') && rest.len() > 1);
        if long.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic())) {
            *word = format!("-{text}").into();
        }
    }
    words
}

/// On or off, in the words that Go takes.
///
/// # Errors
/// It is none of them.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("say true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(line: &str) -> String {
        let words = normalise(line.split(' ').map(OsString::from));
        words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_dash_is_as_good_as_two_for_a_role() {
        assert_eq!(
            normal("ferrolb controller -port=7472 --lb-class x -log-level debug -h -1"),
            "ferrolb controller --port=7472 --lb-class x --log-level debug -h -1"
        );
        assert_eq!(normal("ferrolb controller -port 1 -- -x"), "ferrolb controller --port 1 -- -x");
        assert_eq!(normal("ferrolb plan -f -o json"), "ferrolb plan -f -o json");
        assert_eq!(normal("ferrolb plan -filename x"), "ferrolb plan -filename x");
    }

    #[test]
    fn booleans_are_gos() {
        assert_eq!((boolean("T"), boolean("0")), (Ok(true), Ok(false)));
        assert!(boolean("yes").is_err());
    }
}
