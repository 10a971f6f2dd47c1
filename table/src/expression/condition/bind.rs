//! Conditions with their placeholders replaced and their operands checked. Every condition is checked by itself, from the
//! first to the last: placeholders, the number of operands, whether they differ, their types.

use std::collections::BTreeSet;

use super::{Call, Comparator, ConditionExpression, Function, Node, Operand};
use crate::error::Result;
use crate::expression::path::{BoundPath, BoundStep, shown};
use crate::expression::{Placeholders, Why, invalid};
use crate::key_codec::KeyPart;
use crate::{AttributeValue, message};

/// Operands of IN behind the first at most.
const IN_OPERANDS_MAX: usize = 100;

/// The types as `attribute_type` names them.
const TYPE_NAMES: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"];

/// A condition on items. Ask it with [`BoundCondition::holds`].
#[derive(Debug)]
pub(crate) struct BoundCondition<'r> {
    pub(super) root: Bound<'r>,
}

#[derive(Debug)]
pub(super) enum Bound<'r> {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Compare(Comparator, BoundOperand<'r>, BoundOperand<'r>),
    /// What, the lower and the upper bound.
    Between([BoundOperand<'r>; 3]),
    /// What, and what it may be.
    In(BoundOperand<'r>, Vec<BoundOperand<'r>>),
    Exists(BoundPath<'r>),
    NotExists(BoundPath<'r>),
    IsType(BoundOperand<'r>, &'r str),
    BeginsWith(BoundOperand<'r>, BoundOperand<'r>),
    Contains(BoundOperand<'r>, BoundOperand<'r>),
}

#[derive(Debug, PartialEq)]
pub(super) enum BoundOperand<'r> {
    Path(BoundPath<'r>),
    Value(&'r AttributeValue),
    Size(Box<BoundOperand<'r>>),
}

impl ConditionExpression {
    /// Resolves the placeholders and checks the operands.
    pub(crate) fn bind<'r>(
        &'r self,
        placeholders: &mut Placeholders<'r>,
    ) -> Result<BoundCondition<'r>> {
        let root = bind(&self.root, placeholders).map_err(|why| invalid(self.kind.name(), &why))?;
        Ok(BoundCondition { root })
    }
}

impl<'r> BoundCondition<'r> {
    /// The first of these attributes that the condition names, if it names one.
    pub(crate) fn names_one_of(&self, names: &[&str]) -> Option<&'r str> {
        self.has_one_of(names, 1)
    }

    /// The first of these attributes that the condition looks into, as if it were a document.
    pub(crate) fn looks_into_one_of(&self, names: &[&str]) -> Option<&'r str> {
        self.has_one_of(names, 2)
    }

    /// The first of these attributes that starts a path of so many steps or more.
    fn has_one_of(&self, names: &[&str], steps: usize) -> Option<&'r str> {
        let mut found = None;
        let mut visit = |path: &BoundPath<'r>| {
            if let Some(BoundStep::Name(name)) = path.first()
                && names.contains(name)
                && path.len() >= steps
            {
                found.get_or_insert(*name);
            }
        };
        self.root.visit(&mut visit);
        found
    }

    /// The attributes that the condition names, sorted.
    pub(crate) fn names(&self) -> BTreeSet<&'r str> {
        let mut names = BTreeSet::new();
        self.root.visit(&mut |path: &BoundPath<'r>| {
            if let Some(BoundStep::Name(name)) = path.first() {
                names.insert(*name);
            }
        });
        names
    }
}

impl<'r> Bound<'r> {
    fn visit(&self, visit: &mut impl FnMut(&BoundPath<'r>)) {
        match self {
            Self::And(left, right) | Self::Or(left, right) => {
                left.visit(visit);
                right.visit(visit);
            }
            Self::Not(inner) => inner.visit(visit),
            Self::Compare(_, left, right)
            | Self::BeginsWith(left, right)
            | Self::Contains(left, right) => {
                left.visit(visit);
                right.visit(visit);
            }
            Self::Between(operands) => operands.iter().for_each(|operand| operand.visit(visit)),
            Self::In(what, operands) => {
                what.visit(visit);
                operands.iter().for_each(|operand| operand.visit(visit));
            }
            Self::Exists(path) | Self::NotExists(path) => visit(path),
            Self::IsType(operand, _) => operand.visit(visit),
        }
    }
}

impl<'r> BoundOperand<'r> {
    fn visit(&self, visit: &mut impl FnMut(&BoundPath<'r>)) {
        match self {
            Self::Path(path) => visit(path),
            Self::Value(_) => {}
            Self::Size(inner) => inner.visit(visit),
        }
    }

    /// The type, where it is known without an item.
    fn type_name(&self) -> Option<&'static str> {
        match self {
            Self::Path(_) => None,
            Self::Value(value) => Some(value.type_name()),
            Self::Size(_) => Some("N"),
        }
    }

    /// Whether order is defined for it, as far as is known.
    fn is_ordered(&self) -> bool {
        match self {
            Self::Value(value) => KeyPart::from_value(value).is_some(),
            _ => true,
        }
    }
}

/// No deeper than the expression has operators.
fn bind<'r>(
    node: &'r Node,
    placeholders: &mut Placeholders<'r>,
) -> std::result::Result<Bound<'r>, Why> {
    let mut pair = |left: &'r Node, right: &'r Node| {
        let left = Box::new(bind(left, placeholders)?);
        Ok::<_, Why>((left, Box::new(bind(right, placeholders)?)))
    };
    Ok(match node {
        Node::And(left, right) => {
            let (left, right) = pair(left, right)?;
            Bound::And(left, right)
        }
        Node::Or(left, right) => {
            let (left, right) = pair(left, right)?;
            Bound::Or(left, right)
        }
        Node::Not(inner) => Bound::Not(Box::new(bind(inner, placeholders)?)),
        Node::Compare(comparator, left, right) => {
            let left = operand(left, placeholders)?;
            let right = operand(right, placeholders)?;
            let operands = [left, right];
            check_distinct(comparator.text(), &operands)?;
            if !matches!(comparator, Comparator::Equal | Comparator::NotEqual) {
                check_ordered(comparator.text(), &operands)?;
            }
            let [left, right] = operands;
            Bound::Compare(*comparator, left, right)
        }
        Node::Between([what, low, high]) => {
            let what = operand(what, placeholders)?;
            let low = operand(low, placeholders)?;
            let operands = [what, low, operand(high, placeholders)?];
            check_distinct("BETWEEN", &operands)?;
            check_ordered("BETWEEN", &operands)?;
            if let [_, BoundOperand::Value(low), BoundOperand::Value(high)] = operands {
                message_if_out_of_order(low, high)?;
            }
            Bound::Between(operands)
        }
        Node::In(given) => {
            let mut operands = Vec::with_capacity(given.len());
            for given in given {
                operands.push(operand(given, placeholders)?);
            }
            if operands.len() - 1 > IN_OPERANDS_MAX {
                return Err(message::too_many_in_operands(operands.len() - 1));
            }
            check_distinct("IN", &operands)?;
            let rest = operands.split_off(1);
            let what = operands.pop().ok_or_else(|| message::EXPRESSION_EMPTY.to_owned())?;
            Bound::In(what, rest)
        }
        Node::Call(call) => condition_call(call, placeholders)?,
    })
}

fn message_if_out_of_order(
    low: &AttributeValue,
    high: &AttributeValue,
) -> std::result::Result<(), Why> {
    let (Some(one), Some(two)) = (KeyPart::from_value(low), KeyPart::from_value(high)) else {
        return Ok(());
    };
    let in_order = match (&one, &two) {
        (KeyPart::S(low), KeyPart::S(high)) => low <= high,
        (KeyPart::N(low), KeyPart::N(high)) => low <= high,
        (KeyPart::B(low), KeyPart::B(high)) => low <= high,
        _ => return Err(message::between_types(low, high)),
    };
    if in_order { Ok(()) } else { Err(message::between_order(low, high)) }
}

fn operand<'r>(
    given: &'r Operand,
    placeholders: &mut Placeholders<'r>,
) -> std::result::Result<BoundOperand<'r>, Why> {
    Ok(match given {
        Operand::Path(path) => BoundOperand::Path(path.bind(placeholders)?),
        Operand::Value(name) => BoundOperand::Value(placeholders.value(name)?),
        // Of the functions, parsing lets only this one through.
        Operand::Call(call) => {
            let [of] = call_operands(call, placeholders)?;
            if matches!(of.type_name(), Some("N" | "BOOL" | "NULL")) {
                return Err(wrong_type(Function::Size.name(), &of));
            }
            BoundOperand::Size(Box::new(of))
        }
    })
}

/// The operands of a function of which there are so many.
fn call_operands<'r, const N: usize>(
    call: &'r Call,
    placeholders: &mut Placeholders<'r>,
) -> std::result::Result<[BoundOperand<'r>; N], Why> {
    let name = call.function.map_or("", Function::name);
    let mut operands = Vec::with_capacity(call.operands.len());
    for given in &call.operands {
        operands.push(operand(given, placeholders)?);
    }
    let operands: [BoundOperand<'r>; N] = (operands.try_into())
        .map_err(|operands: Vec<_>| message::operand_count(name, operands.len()))?;
    check_distinct(name, &operands)?;
    Ok(operands)
}

fn condition_call<'r>(
    call: &'r Call,
    placeholders: &mut Placeholders<'r>,
) -> std::result::Result<Bound<'r>, Why> {
    let path = |[operand]: [BoundOperand<'r>; 1], function: Function| match operand {
        BoundOperand::Path(path) => Ok(path),
        _ => Err(message::needs_path(function.name())),
    };
    let function = call.function.unwrap_or(Function::Size);
    Ok(match function {
        Function::AttributeExists => {
            Bound::Exists(path(call_operands(call, placeholders)?, function)?)
        }
        Function::AttributeNotExists => {
            Bound::NotExists(path(call_operands(call, placeholders)?, function)?)
        }
        Function::AttributeType => {
            let [of, wanted] = call_operands(call, placeholders)?;
            let BoundOperand::Value(AttributeValue::S(wanted)) = wanted else {
                return Err(wrong_type(function.name(), &wanted));
            };
            if !TYPE_NAMES.contains(&wanted.as_str()) {
                return Err(message::unknown_type(wanted));
            }
            Bound::IsType(of, wanted)
        }
        Function::BeginsWith => {
            let [of, prefix] = call_operands(call, placeholders)?;
            for operand in [&of, &prefix] {
                if !matches!(operand.type_name(), None | Some("S" | "B")) {
                    return Err(wrong_type(function.name(), operand));
                }
            }
            Bound::BeginsWith(of, prefix)
        }
        Function::Contains => {
            let [of, wanted] = call_operands(call, placeholders)?;
            Bound::Contains(of, wanted)
        }
        // Parsing does not let it through.
        Function::Size => return Err(message::misused_function(function.name())),
    })
}

fn wrong_type(operator: &str, operand: &BoundOperand<'_>) -> Why {
    // What a path leads to may be anything, and is named as all of it.
    message::operand_type(operator, operand.type_name().unwrap_or(message::ANY_TYPE))
}

/// Refuses a path that is compared with itself.
fn check_distinct(operator: &str, operands: &[BoundOperand<'_>]) -> std::result::Result<(), Why> {
    match operands.split_first() {
        Some((BoundOperand::Path(first), rest))
            if rest
                .iter()
                .any(|other| matches!(other, BoundOperand::Path(path) if path == first)) =>
        {
            Err(message::not_distinct(operator, &shown(first)))
        }
        _ => Ok(()),
    }
}

fn check_ordered(operator: &str, operands: &[BoundOperand<'_>]) -> std::result::Result<(), Why> {
    match operands.iter().find(|operand| !operand.is_ordered()) {
        Some(operand) => Err(wrong_type(operator, operand)),
        None => Ok(()),
    }
}
