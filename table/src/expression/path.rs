//! Document paths: `a.b[3].#c`, which every kind of expression but key conditions has. A path is parsed as it is written,
//! bound to the request's names, and then followed through items by those who evaluate it. Which paths of one
//! expression may stand together is told here too.

use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::{Placeholders, Why};
use crate::message;

/// Steps of the longest path. Values are not nested deeper either.
pub(super) const MAX_STEPS: usize = 32;

/// A step of a path as written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// An attribute name or `#name`.
    Name(String),
    Index(usize),
}

/// A path as written; its first step is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

/// A step of a path whose placeholders are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BoundStep<'r> {
    /// Into a map (first: into the item).
    Name(&'r str),
    /// Into a list.
    Index(usize),
}

/// A path whose placeholders are replaced; its first step is a name.
pub(crate) type BoundPath<'r> = Vec<BoundStep<'r>>;

impl Path {
    /// Reads a path. A reserved word is noted and read on, because syntax errors come first.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Why> {
        let mut steps = vec![Self::name(cursor)?];
        loop {
            if cursor.accept(TokenKind::Dot) {
                steps.push(Self::name(cursor)?);
            } else if cursor.accept(TokenKind::LeftBracket) {
                let digits = cursor.take(TokenKind::Digits)?;
                cursor.expect(TokenKind::RightBracket)?;
                let index = digits.parse::<u32>().ok().filter(|index| *index < u32::MAX);
                let index = index.and_then(|index| usize::try_from(index).ok());
                if index.is_none() {
                    cursor.note(message::list_index(digits));
                }
                steps.push(Step::Index(index.unwrap_or_default()));
            } else {
                break;
            }
        }
        if steps.len() > MAX_STEPS {
            cursor.note(message::path_depth(steps.len()));
        }
        Ok(Self(steps))
    }

    fn name(cursor: &mut Cursor<'_>) -> Result<Step, Why> {
        let name = match cursor.peek() {
            Some(TokenKind::NamePlaceholder) => cursor.take(TokenKind::NamePlaceholder)?,
            _ => {
                let name = cursor.take(TokenKind::Identifier)?;
                cursor.note_if_reserved(name);
                name
            }
        };
        Ok(Step::Name(name.to_owned()))
    }

    /// Replaces the placeholders.
    pub(super) fn bind<'r>(
        &'r self,
        placeholders: &mut Placeholders<'r>,
    ) -> Result<BoundPath<'r>, Why> {
        let bind = |step: &'r Step| {
            Ok(match step {
                Step::Name(name) if name.starts_with('#') => {
                    BoundStep::Name(placeholders.name(name)?)
                }
                Step::Name(name) => BoundStep::Name(name),
                Step::Index(index) => BoundStep::Index(*index),
            })
        };
        self.0.iter().map(bind).collect()
    }
}

/// A path as messages show it: `[a, b, [3]]`.
pub(super) fn shown(path: &[BoundStep<'_>]) -> String {
    let steps: Vec<String> = (path.iter())
        .map(|step| match step {
            BoundStep::Name(name) => (*name).to_owned(),
            BoundStep::Index(index) => format!("[{index}]"),
        })
        .collect();
    format!("[{}]", steps.join(", "))
}

/// Refuses paths of which one leads through another, or that take the same value for a map and for a list.
pub(super) fn check_apart(paths: &[BoundPath<'_>]) -> Result<(), Why> {
    let mut sorted: Vec<&[BoundStep<'_>]> = paths.iter().map(Vec::as_slice).collect();
    sorted.sort_unstable();
    // Names sort before indexes, and a path right before those that lead through it: neighbours tell.
    let is_apart = |pair: &[&[BoundStep<'_>]]| relation(pair[0], pair[1]) == Relation::Apart;
    if sorted.windows(2).all(is_apart) {
        return Ok(());
    }
    let pairs =
        || (0..paths.len()).flat_map(|one| (one + 1..paths.len()).map(move |two| (one, two)));
    for (wanted, words) in [(Relation::Overlap, "overlap"), (Relation::Conflict, "conflict")] {
        let mut found = pairs().map(|(one, two)| (&paths[one], &paths[two]));
        if let Some((one, two)) = found.find(|(one, two)| relation(one, two) == wanted) {
            return Err(message::paths_together(words, &shown(one), &shown(two)));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Apart,
    Overlap,
    Conflict,
}

fn relation(one: &[BoundStep<'_>], two: &[BoundStep<'_>]) -> Relation {
    let common = one.iter().zip(two).take_while(|(a, b)| a == b).count();
    match (one.get(common), two.get(common)) {
        (None, _) | (_, None) => Relation::Overlap,
        (Some(BoundStep::Name(_)), Some(BoundStep::Index(_)))
        | (Some(BoundStep::Index(_)), Some(BoundStep::Name(_))) => Relation::Conflict,
        _ => Relation::Apart,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &'static str) -> BoundPath<'static> {
        text.split('.')
            .map(|step| step.parse().map_or(BoundStep::Name(step), BoundStep::Index))
            .collect()
    }

    fn refusal(paths: &[&'static str]) -> Option<String> {
        let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
        check_apart(&paths).err()
    }

    #[test]
    fn paths_overlap_or_conflict() {
        assert_eq!(refusal(&["a", "b.0", "b.1.c", "b.1.d"]), None);
        assert_eq!(
            refusal(&["x", "a.0.b", "c", "a"]).unwrap(),
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: \
             [a, [0], b], path two: [a]"
        );
        assert_eq!(
            refusal(&["a.b.c", "a.0"]).unwrap(),
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: \
             [a, b, c], path two: [a, [0]]"
        );
        // Between the two that conflict stands another in order.
        assert!(refusal(&["a.z", "a.b", "a.0.b", "a.7"]).unwrap().contains("conflict"));
        assert!(refusal(&["a", "a"]).unwrap().contains("overlap"));
    }
}
