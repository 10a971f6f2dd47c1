//! The access keys whose signatures this server accepts. Read from a file of the form that AWS tools share
//! (`~/.aws/credentials`), so that one file serves the server and its clients; held in memory, never printed.

use std::collections::BTreeMap;
use std::fmt;

/// Bytes of the longest key or secret; those of AWS have 128 and 40.
const BYTES_MAX: usize = 256;

/// The key that a client signs with, and the region that it says it is in.
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) region: String,
}

impl AccessKey {
    /// The one that the environment names in the way of AWS's tools; none where it names none.
    pub(crate) fn from_environment() -> Option<AccessKey> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        Some(AccessKey {
            id: variable("AWS_ACCESS_KEY_ID")?,
            secret: variable("AWS_SECRET_ACCESS_KEY")?,
            region: region.unwrap_or_else(|| "us-east-1".to_owned()),
        })
    }
}

/// Access keys and their secrets; at least one.
pub(crate) struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// One key and its secret.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub(crate) fn of(key_id: &str, secret: &str) -> Result<Credentials, String> {
        check(key_id, secret)?;
        Ok(Credentials(BTreeMap::from([(key_id.to_owned(), secret.to_owned())])))
    }

    /// The pairs of `aws_access_key_id` and `aws_secret_access_key` of every profile of a file. Other settings are passed
    /// over, as AWS's own tools do; a pair of which one is missing is not.
    ///
    /// # Errors
    /// What is wrong with which line. No message shows a secret.
    pub(crate) fn parse(text: &str) -> Result<Credentials, String> {
        let mut all = BTreeMap::new();
        let mut profile = Profile::default();
        for (at, line) in text.lines().enumerate() {
            let (number, line) = (at + 1, line.trim());
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(header) = line.strip_prefix('[') {
                let name = header
                    .strip_suffix(']')
                    .ok_or_else(|| format!("line {number}: a profile's name ends in `]`"))?;
                std::mem::replace(&mut profile, Profile::named(name)).finish(&mut all)?;
                continue;
            }
            let (name, value) = line.split_once('=').ok_or_else(|| {
                format!("line {number} is neither `name = value` nor `[profile]`")
            })?;
            let place = match name.trim() {
                "aws_access_key_id" => &mut profile.key_id,
                "aws_secret_access_key" => &mut profile.secret,
                _ => continue,
            };
            if place.replace(value.trim().to_owned()).is_some() {
                return Err(format!("line {number}: {} is there twice", name.trim()));
            }
        }
        profile.finish(&mut all)?;
        if all.is_empty() {
            return Err("there is no aws_access_key_id in it".to_owned());
        }
        Ok(Credentials(all))
    }

    /// The secret of a key.
    pub(crate) fn secret(&self, key_id: &str) -> Option<&str> {
        self.0.get(key_id).map(String::as_str)
    }
}

/// How many there are, and nothing of them.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} keys)", self.0.len())
    }
}

/// A section of the file while it is read.
#[derive(Default)]
struct Profile {
    name: String,
    key_id: Option<String>,
    secret: Option<String>,
}

impl Profile {
    fn named(name: &str) -> Profile {
        Profile { name: name.trim().to_owned(), ..Profile::default() }
    }

    fn finish(self, all: &mut BTreeMap<String, String>) -> Result<(), String> {
        let Profile { name, key_id, secret } = self;
        match (key_id, secret) {
            (None, None) => Ok(()),
            (Some(key_id), Some(secret)) => {
                check(&key_id, &secret)
                    .map_err(|problem| format!("profile [{name}]: {problem}"))?;
                // Two profiles may well share a key, as long as they agree.
                match all.insert(key_id, secret.clone()) {
                    Some(other) if other != secret => {
                        Err(format!("profile [{name}]: its key has another secret further up"))
                    }
                    _ => Ok(()),
                }
            }
            (None, Some(_)) => Err(format!("profile [{name}] has no aws_access_key_id")),
            (Some(_), None) => Err(format!("profile [{name}] has no aws_secret_access_key")),
        }
    }
}

fn check(key_id: &str, secret: &str) -> Result<(), String> {
    let is_word =
        !key_id.is_empty() && key_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_word || key_id.len() > BYTES_MAX {
        return Err(format!(
            "an access key has letters, digits and underscores, 1 to {BYTES_MAX} of them"
        ));
    }
    if secret.is_empty() || secret.len() > BYTES_MAX {
        return Err(format!("a secret access key has 1 to {BYTES_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_of_a_file_counts() {
        let text = "# shared\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=se/cr+et=\n\
                    region = eu-west-1\n\n[ other ]\naws_secret_access_key = two\naws_access_key_id=K_2\n[empty]\n";
        let credentials = Credentials::parse(text).unwrap();
        assert_eq!(credentials.secret("AKIA1"), Some("se/cr+et="));
        assert_eq!(credentials.secret("K_2"), Some("two"));
        assert_eq!(credentials.secret("K"), None);
        assert_eq!(format!("{credentials:?}"), "Credentials(2 keys)");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_a_secret() {
        for (text, says) in [
            ("", "there is no aws_access_key_id in it"),
            ("[a]\naws_access_key_id=A", "profile [a] has no aws_secret_access_key"),
            ("aws_secret_access_key=hidden", "profile [] has no aws_access_key_id"),
            ("[a\n", "line 1: a profile's name ends in `]`"),
            ("[a]\nhidden", "line 2 is neither `name = value` nor `[profile]`"),
            (
                "aws_secret_access_key=hidden\naws_secret_access_key=hidden",
                "line 2: aws_secret_access_key is there twice",
            ),
            (
                "aws_access_key_id=a b\naws_secret_access_key=hidden",
                "profile []: an access key has letters, digits and underscores, 1 to 256 of them",
            ),
            (
                "[a]\naws_access_key_id=A\naws_secret_access_key=1\n[b]\naws_access_key_id=A\n\
                 aws_secret_access_key=2",
                "profile [b]: its key has another secret further up",
            ),
        ] {
            let error = Credentials::parse(text).unwrap_err();
            assert_eq!(error, says);
            assert!(!error.contains("hidden"));
        }
    }
}
