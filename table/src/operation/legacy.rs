//! The parameters that requests had before there were expressions, as the service's clients still send them. No request
//! has both kinds. They mean what expressions mean: see `expression/legacy.rs`, which checks them.

use std::collections::BTreeMap;

use crate::AttributeValue;

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonOperator {
    /// It is equal to the value.
    Eq,
    /// It is not equal to the value; it need not be there.
    Ne,
    /// It is equal to one of the values.
    In,
    /// It is at most the value.
    Le,
    /// It is less than the value.
    Lt,
    /// It is at least the value.
    Ge,
    /// It is greater than the value.
    Gt,
    /// It is at least the first and at most the second value.
    Between,
    /// It is there.
    NotNull,
    /// It is not there.
    Null,
    /// It is a text or bytes with the value in it, or a set or list with the value as a member.
    Contains,
    /// It is there, and `Contains` does not hold.
    NotContains,
    /// It is a text or bytes that begin with the value.
    BeginsWith,
}

/// Whether all conditions have to hold, or one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionalOperator {
    /// All.
    #[default]
    And,
    /// One.
    Or,
}

/// A condition of `KeyConditions`, `QueryFilter` or `ScanFilter`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// How the attribute is compared.
    pub comparison_operator: ComparisonOperator,
    /// With what: as many values as the operator takes.
    pub attribute_value_list: Vec<AttributeValue>,
}

/// `KeyConditions`, `QueryFilter` or `ScanFilter`: a condition for each attribute. Names are plain: a dot is a dot.
pub type Conditions = BTreeMap<String, Condition>;

/// What a write expects of an attribute: to be there with a value, not to be there, or a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpectedAttributeValue {
    /// The value that is expected or, with a comparison, the one value to compare with.
    pub value: Option<AttributeValue>,
    /// False: the attribute is not to be there.
    pub exists: Option<bool>,
    /// How the attribute is compared.
    pub comparison_operator: Option<ComparisonOperator>,
    /// With what.
    pub attribute_value_list: Option<Vec<AttributeValue>>,
}

/// `Expected`: what a write expects of each attribute. Names are plain: a dot is a dot.
pub type Expected = BTreeMap<String, ExpectedAttributeValue>;

/// How an attribute is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttributeAction {
    /// It is set to the value.
    #[default]
    Put,
    /// A number grows by the value, a set gets its members, a list its elements.
    Add,
    /// It is removed; with a value, which is a set, only the members of that.
    Delete,
}

/// A change of an attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeValueUpdate {
    /// How it is changed: `Put` when absent.
    pub action: Option<AttributeAction>,
    /// With what.
    pub value: Option<AttributeValue>,
}

/// `AttributeUpdates`: a change for each attribute. Names are plain: a dot is a dot.
pub type AttributeUpdates = BTreeMap<String, AttributeValueUpdate>;
