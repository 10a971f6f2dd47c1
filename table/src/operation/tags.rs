//! TagResource, UntagResource and ListTagsOfResource: their requests, the response of the last, and
//! what they do. Tags are no part of the open table: the catalog has them, and they are read when
//! they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use esker::Durability;

use crate::Tables;
use crate::catalog;
use crate::error::{Result, TableError, TableErrorKind};
use crate::message::control;
use crate::schema::Tag;
use crate::table::Table;

/// Tags of one table, and in one request.
const TAGS_MAX: usize = 50;
/// Lengths are in UTF-16 units, as the service counts them.
const KEY_LENGTH_MAX: usize = 128;
const VALUE_LENGTH_MAX: usize = 256;
const RESERVED_PREFIX: &str = "aws:";

/// Gives a table tags; a tag with a key that the table has already takes the new value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagResourceRequest {
    /// The table's ARN.
    pub resource_arn: String,
    /// At least one.
    pub tags: Vec<Tag>,
}

/// Takes tags from a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UntagResourceRequest {
    /// The table's ARN.
    pub resource_arn: String,
    /// The keys of the tags, at least one; a key that the table does not have is no error.
    pub tag_keys: Vec<String>,
}

/// Asks for the tags of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListTagsOfResourceRequest {
    /// The table's ARN.
    pub resource_arn: String,
    /// Where a page before this one ended. All tags fit into one page, so no token is ever given.
    pub next_token: Option<String>,
}

/// The tags of a table, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListTagsOfResourceResponse {
    /// The tags.
    pub tags: Vec<Tag>,
}

impl Tables {
    /// Gives a table tags. Durable when it returns.
    ///
    /// # Errors
    /// `Validation` for wrong tags or too many of them, or for what is no ARN of a table;
    /// `AccessDenied` for an ARN of another service; `ResourceNotFound` if there is no such table.
    pub fn tag_resource(&self, request: TagResourceRequest) -> Result<()> {
        let name = table_of_arn(&request.resource_arn)?;
        if request.tags.is_empty() {
            return refuse(control::NO_TAGS);
        }
        check_tags(&request.tags)?;
        let _control = self.control();
        let table = self.tagged_table(name, &request.resource_arn)?;
        let mut tags: BTreeMap<String, String> =
            catalog::tags(self.catalog(), table.id())?.into_iter().map(pair).collect();
        tags.extend(request.tags.into_iter().map(pair));
        if tags.len() > TAGS_MAX {
            return refuse(control::TOO_MANY_TAGS);
        }
        self.store_tags(&table, tags)
    }

    /// Takes tags from a table. Durable when it returns.
    ///
    /// # Errors
    /// As [`Tables::tag_resource`].
    pub fn untag_resource(&self, request: UntagResourceRequest) -> Result<()> {
        let name = table_of_arn(&request.resource_arn)?;
        if request.tag_keys.is_empty() {
            return refuse(control::NO_TAG_KEYS);
        }
        if request.tag_keys.len() > TAGS_MAX {
            return refuse(control::TOO_MANY_TAGS);
        }
        request.tag_keys.iter().try_for_each(|key| check_key(key))?;
        let _control = self.control();
        let table = self.tagged_table(name, &request.resource_arn)?;
        let mut tags: BTreeMap<String, String> =
            catalog::tags(self.catalog(), table.id())?.into_iter().map(pair).collect();
        tags.retain(|key, _| !request.tag_keys.contains(key));
        self.store_tags(&table, tags)
    }

    /// The tags of a table.
    ///
    /// # Errors
    /// As [`Tables::tag_resource`].
    pub fn list_tags_of_resource(
        &self,
        request: ListTagsOfResourceRequest,
    ) -> Result<ListTagsOfResourceResponse> {
        let name = table_of_arn(&request.resource_arn)?;
        let table = self.tagged_table(name, &request.resource_arn)?;
        if request.next_token.is_some() {
            return Err(TableError::validation(control::NEXT_TOKEN));
        }
        Ok(ListTagsOfResourceResponse { tags: catalog::tags(self.catalog(), table.id())? })
    }

    fn tagged_table(&self, name: &str, arn: &str) -> Result<Arc<Table>> {
        self.find(name).ok_or_else(|| TableError::not_found(control::resource_not_found(arn)))
    }

    /// Keeps the tags of a table. Only under the control lock.
    fn store_tags(&self, table: &Table, tags: BTreeMap<String, String>) -> Result<()> {
        let tags: Vec<Tag> = tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
        let mut batch = self.db().batch();
        catalog::put_tags(&mut batch, self.catalog(), table.id(), &tags)?;
        self.db().write_with(batch, Durability::Sync)?;
        Ok(())
    }
}

fn pair(tag: Tag) -> (String, String) {
    (tag.key, tag.value)
}

fn refuse(text: impl Into<String>) -> Result<()> {
    Err(TableError::validation(text))
}

/// The name in the ARN of a table (`arn:aws:dynamodb:region:account:table/name`), of whatever region
/// and account.
fn table_of_arn(arn: &str) -> Result<&str> {
    let Some(rest) = arn.strip_prefix("arn:") else {
        return Err(TableError::validation(control::not_an_arn(arn)));
    };
    // Partition, service, region, account, resource.
    let parts: Vec<&str> = rest.splitn(5, ':').collect();
    if parts.get(1).is_some_and(|service| *service != "dynamodb") {
        return Err(TableError::new(TableErrorKind::AccessDenied, control::ACCESS_DENIED));
    }
    let resource = parts.get(4).and_then(|resource| resource.strip_prefix("table/"));
    let Some(resource) = resource else {
        return Err(TableError::validation(control::not_a_table_arn(arn)));
    };
    match resource.split_once('/') {
        None => Ok(resource),
        // A stream has no tags of its own.
        Some((_, part)) if part.starts_with("stream/") => {
            Err(TableError::not_found(control::resource_not_found(arn)))
        }
        Some(_) => Err(TableError::validation(control::part_of_table_arn(arn))),
    }
}

/// Refuses tags that no table can have.
pub(crate) fn check_tags(tags: &[Tag]) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return refuse(control::TOO_MANY_TAGS);
    }
    let mut seen = BTreeSet::new();
    for Tag { key, value } in tags {
        check_key(key)?;
        if key.starts_with(RESERVED_PREFIX) {
            return refuse(control::tag_key_reserved(key));
        }
        if value.encode_utf16().count() > VALUE_LENGTH_MAX || !has_tag_characters(value) {
            return refuse(control::tag_value_invalid(value));
        }
        if !seen.insert(key) {
            return refuse(control::repeated_tag_key(key));
        }
    }
    Ok(())
}

fn check_key(key: &str) -> Result<()> {
    let length = key.encode_utf16().count();
    if length == 0 || length > KEY_LENGTH_MAX || !has_tag_characters(key) {
        return refuse(control::tag_key_invalid(key));
    }
    Ok(())
}

/// Letters, digits and spaces of every script, and a few signs.
fn has_tag_characters(text: &str) -> bool {
    let is_space = |c: char| c.is_whitespace() && !c.is_control();
    text.chars().all(|c| c.is_alphanumeric() || is_space(c) || "+-=._:/@".contains(c))
}

/// The tags of a new table in the order of their keys.
pub(crate) fn sorted(mut tags: Vec<Tag>) -> Vec<Tag> {
    tags.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_name_tables() {
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/Things";
        assert_eq!(table_of_arn(arn).unwrap(), "Things");
        let told = |arn: &str| table_of_arn(arn).unwrap_err().to_string();
        for (arn, wanted) in [
            (
                "Things",
                "ValidationException: One or more parameter values were invalid: ARNs must start \
                 with 'arn:': Things",
            ),
            ("arn:aws:s3:::bucket", "AccessDeniedException: Access is denied"),
            (
                "arn:aws:dynamodb:r:a:other/x",
                "ValidationException: One or more parameter values were invalid: Provided Arn is \
                 not a DynamoDB resource arn: arn:aws:dynamodb:r:a:other/x",
            ),
            (
                "arn:aws:dynamodb:r:a:table/x/index/i",
                "ValidationException: One or more parameter values were invalid: Invalid resource \
                 arn provided, only table or stream is accepted. Provided resource arn: \
                 arn:aws:dynamodb:r:a:table/x/index/i",
            ),
            (
                "arn:aws:dynamodb:r:a:table/x/stream/s",
                "ResourceNotFoundException: Requested resource not found: ResourceArn: \
                 arn:aws:dynamodb:r:a:table/x/stream/s not found",
            ),
        ] {
            assert_eq!(told(arn), wanted);
        }
        assert!(table_of_arn("arn:").is_err());
    }

    #[test]
    fn tags_have_few_signs_and_different_keys() {
        let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
        let good = [
            tag("ключ", ""),
            tag("表 and\u{a0}more\u{3000}", "a+b-c=d.e_f:g/h@i"),
            tag(&"k".repeat(128), &"é".repeat(256)),
            tag("AWS:x", "1"),
        ];
        assert_eq!(check_tags(&good), Ok(()));
        let told = |tags: &[Tag]| check_tags(tags).unwrap_err().message().to_owned();
        assert_eq!(told(&[tag("", "x")]), "The Tag Key provided is invalid, Key: ");
        for key in ["🔑", "a,b", "100%", "a#", "a\tb", &"k".repeat(129)] {
            assert_eq!(
                told(&[tag(key, "")]),
                format!("The Tag Key provided is invalid, Key: {key}")
            );
        }
        for value in ["a|b", "(x)", &"v".repeat(257)] {
            let wanted = format!("The Tag Value provided is invalid, Value: {value}");
            assert_eq!(told(&[tag("k", value)]), wanted);
        }
        assert_eq!(
            told(&[tag("aws:zzz", "1")]),
            "Tag Key cannot be prefixed with aws:, Key: aws:zzz"
        );
        assert_eq!(
            told(&[tag("dup", "1"), tag("dup", "2")]),
            "Duplicate Tag Keys provided as input: Duplicate Tag Key found dup"
        );
        let many: Vec<Tag> = (0..51).map(|n| tag(&format!("k{n}"), "")).collect();
        assert_eq!(check_tags(&many[..50]), Ok(()));
        assert_eq!(told(&many), control::TOO_MANY_TAGS);
    }
}
