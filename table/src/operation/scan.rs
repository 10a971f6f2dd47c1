//! Scan: its request, its response and what it does.

use super::{
    ConditionalOperator, Conditions, ConsumedCapacity, ExpressionAttributeNames,
    ExpressionAttributeValues, ReturnConsumedCapacity, Select,
};
use crate::error::{Result, TableError};
use crate::expression::condition::BoundCondition;
use crate::expression::legacy::{check_parameters, prepare_conditions};
use crate::expression::projection::Parts;
use crate::expression::{Placeholders, filter, prepare_placeholders, projection};
use crate::key_codec::segment_range;
use crate::page::{PageRequest, check_limit, counts_only, read_page};
use crate::schema::check::{check_index_name, item_table_name};
use crate::source::Source;
use crate::throttle::{Resource, Use};
use crate::{Item, Tables, message};

const TOTAL_SEGMENTS_MAX: i32 = 1_000_000;

/// Reads every item of a table, or of one segment of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanRequest {
    /// The table's name.
    pub table_name: String,
    /// The index that is read instead of the table.
    pub index_name: Option<String>,
    /// Which of the items that are read are answered.
    pub filter_expression: Option<String>,
    /// Which parts of the items are answered.
    pub projection_expression: Option<String>,
    /// Which of the items that are read are answered, without an expression.
    pub scan_filter: Option<Conditions>,
    /// Whether all conditions of the filter must hold, or one of them.
    pub conditional_operator: Option<ConditionalOperator>,
    /// Which attributes of the items are answered, without an expression.
    pub attributes_to_get: Option<Vec<String>>,
    /// What the expressions' `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
    /// What the expressions' `:values` stand for.
    pub expression_attribute_values: Option<ExpressionAttributeValues>,
    /// Which segment, from 0; together with `total_segments`.
    pub segment: Option<i32>,
    /// How many segments there are: 1 to 1,000,000.
    pub total_segments: Option<i32>,
    /// At most so many items: 1 or more.
    pub limit: Option<i32>,
    /// The key after which to continue.
    pub exclusive_start_key: Option<Item>,
    /// Whether the read is charged as a consistent one; every read here is. Refused on a global
    /// index.
    pub consistent_read: Option<bool>,
    /// What is answered of the items.
    pub select: Option<Select>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// One page of items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanResponse {
    /// The items; absent with `Select::Count`.
    pub items: Option<Vec<Item>>,
    /// How many items matched.
    pub count: u32,
    /// How many items were read.
    pub scanned_count: u32,
    /// Where the next page starts; absent when there is none.
    pub last_evaluated_key: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
}

impl ScanRequest {
    fn check_parameters(&self) -> Result<()> {
        let joined = self.conditional_operator.map(|_| self.scan_filter.iter().flatten().count());
        check_parameters(
            &[
                ("AttributesToGet", self.attributes_to_get.is_some()),
                ("ScanFilter", self.scan_filter.is_some()),
                ("ConditionalOperator", joined.is_some()),
            ],
            &[
                ("ProjectionExpression", self.projection_expression.is_some()),
                ("FilterExpression", self.filter_expression.is_some()),
            ],
            joined,
        )
    }
}

impl Tables {
    /// Reads one page of all items of a table, or of one segment of them, in the order of their
    /// stored keys: up to the limit, and up to 1 MB.
    ///
    /// # Errors
    /// `Validation` for a wrong request; `ResourceNotFound` if there is no such table.
    pub fn scan(&self, mut request: ScanRequest) -> Result<ScanResponse> {
        let name = item_table_name(&request.table_name)?;
        let limit = check_limit(request.limit)?;
        check_segments(&request)?;
        let has_projection = request.projection_expression.is_some();
        request.check_parameters()?;
        let index_name = request.index_name.as_deref();
        index_name.map_or(Ok(()), check_index_name)?;
        let has_names = request.attributes_to_get.is_some();
        prepare_placeholders(
            request.expression_attribute_names.as_ref(),
            request.expression_attribute_values.as_mut(),
            &[
                ("FilterExpression", request.filter_expression.is_some()),
                ("ProjectionExpression", has_projection),
            ],
        )?;
        prepare_conditions(request.scan_filter.as_mut())?;
        let scan_filter =
            BoundCondition::of_filter(request.scan_filter.as_ref(), request.conditional_operator)?;
        let attributes = Parts::of_names(request.attributes_to_get.as_ref())?;
        let mut placeholders = Placeholders::new(
            request.expression_attribute_names.as_ref(),
            request.expression_attribute_values.as_ref(),
        )?;
        let filter = filter(request.filter_expression.as_deref())?;
        let filter = filter.as_ref().map(|filter| filter.bind(&mut placeholders)).transpose()?;
        let count_only =
            counts_only(request.select, has_projection, has_names, index_name.is_some())?;
        let (segment, total) = which_segment(&request)?;
        let projection = projection(request.projection_expression.as_deref())?;
        let parts = projection.as_ref().map(|p| p.bind(&mut placeholders)).transpose()?;
        let parts = parts.or(attributes);
        placeholders.check_all_used()?;
        let table = self.table(name)?;
        let source = Source::new(&table, index_name, request.consistent_read)?;
        source.check_scalars(filter.as_ref())?;
        let filter = filter.or(scan_filter);
        let fetches = source.fetches(request.select, parts.as_ref())?;
        let range = segment_range(segment, total);
        let start_after = match &request.exclusive_start_key {
            None => None,
            Some(key) => {
                let key = source.start_of_scan(key)?;
                if !range.contains(&key) {
                    let text = message::start_key_segment(segment, total);
                    return Err(TableError::validation(text));
                }
                Some(key)
            }
        };
        let request_page = PageRequest {
            range,
            start_after,
            forward: true,
            limit,
            filter: filter.as_ref(),
            parts: parts.as_ref(),
            count_only,
            fetches,
            consistent_read: request.consistent_read,
        };
        self.admit(Resource::source(source), Use::Read)?;
        let page = read_page(self.db(), source, request_page)?;
        page.charge(self, source, request.consistent_read);
        let asked = request.return_consumed_capacity;
        Ok(ScanResponse {
            consumed_capacity: page.consumed(source, asked, request.consistent_read),
            items: page.items,
            count: page.count,
            scanned_count: page.scanned_count,
            last_evaluated_key: page.last_key,
        })
    }
}

/// Refuses numbers that no segment has.
fn check_segments(request: &ScanRequest) -> Result<()> {
    let mut errors = Vec::new();
    let mut check = |value: Option<i32>, member: &str, least: i32, most: i32| {
        let Some(value) = value else { return };
        let must = match value {
            _ if value < least => format!("have value greater than or equal to {least}"),
            _ if value > most => format!("have value less than or equal to {most}"),
            _ => return,
        };
        errors.push(message::list_constraint(member, &must));
    };
    check(request.segment, "Segment", 0, TOTAL_SEGMENTS_MAX - 1);
    check(request.total_segments, "TotalSegments", 1, TOTAL_SEGMENTS_MAX);
    if errors.is_empty() {
        return Ok(());
    }
    Err(TableError::validation(message::validation_errors(&errors)))
}

/// Which segment of how many; the whole table is the only segment of one.
fn which_segment(request: &ScanRequest) -> Result<(u32, u32)> {
    let refuse = |text: String| Err(TableError::validation(text));
    match (request.segment, request.total_segments) {
        (None, None) => Ok((0, 1)),
        (None, Some(_)) => refuse(message::SEGMENT_MISSING.to_owned()),
        (Some(_), None) => refuse(message::TOTAL_SEGMENTS_MISSING.to_owned()),
        (Some(segment), Some(total)) if segment >= total => {
            refuse(message::segment_too_large(segment, total))
        }
        (Some(segment), Some(total)) => Ok((segment.cast_unsigned(), total.cast_unsigned())),
    }
}
