//! TagResource, UntagResource and ListTagsOfResource on the wire. The first two answer nothing at all: their bodies are
//! empty.

use esker_table::operation::{
    ListTagsOfResourceRequest, ListTagsOfResourceResponse, TagResourceRequest, UntagResourceRequest,
};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::Constraints;
use super::shared::serialize_members;
use super::table_options::{TagIn, TagOut, tags};
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Members};
use crate::message;
use crate::service::{Outcome, Service};

/// The ARN, without which the service says only this.
fn arn(given: Option<String>) -> Result<String, WireError> {
    given.ok_or_else(|| WireError::validation(message::TABLE_ARN_MISSING))
}

/// TagResource.
pub(crate) fn tag_resource(service: &dyn Service, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let input: TagInput = json::read(body)?;
    let resource_arn = arn(input.resource_arn)?;
    let mut checks = Constraints::default();
    let given = checks.required(input.tags, "tags");
    checks.check()?;
    service.tag_resource(TagResourceRequest { resource_arn, tags: tags(given)? })?;
    Ok(Vec::new())
}

#[derive(Default)]
struct TagInput {
    resource_arn: Option<String>,
    tags: Option<Vec<TagIn>>,
}

impl Members for TagInput {
    const NAME: &'static str = "TagResourceInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ResourceArn" => self.resource_arn = json::text(map)?,
            "Tags" => self.tags = json::list(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// UntagResource.
pub(crate) fn untag_resource(service: &dyn Service, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let input: UntagInput = json::read(body)?;
    let resource_arn = arn(input.resource_arn)?;
    let mut checks = Constraints::default();
    let tag_keys = checks.required(input.tag_keys, "tagKeys");
    checks.check()?;
    service.untag_resource(UntagResourceRequest { resource_arn, tag_keys })?;
    Ok(Vec::new())
}

#[derive(Default)]
struct UntagInput {
    resource_arn: Option<String>,
    tag_keys: Option<Vec<String>>,
}

impl Members for UntagInput {
    const NAME: &'static str = "UntagResourceInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ResourceArn" => self.resource_arn = json::text(map)?,
            "TagKeys" => self.tag_keys = json::texts(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// ListTagsOfResource.
pub(crate) struct ListTagsOfResource;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    resource_arn: Option<String>,
    next_token: Option<String>,
}

impl Members for Input {
    const NAME: &'static str = "ListTagsOfResourceInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ResourceArn" => self.resource_arn = json::text(map)?,
            "NextToken" => self.next_token = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, ListTagsOfResourceResponse, |response, writer| {
    writer.member("Tags", response.tags.iter().map(TagOut).collect::<Vec<_>>())?
});

impl Operation for ListTagsOfResource {
    type Input = Input;
    type Request = ListTagsOfResourceRequest;
    type Response = ListTagsOfResourceResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let resource_arn = arn(input.resource_arn)?;
        Ok(ListTagsOfResourceRequest { resource_arn, next_token: input.next_token })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for ListTagsOfResource {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.list_tags_of_resource(request)
    }
}
