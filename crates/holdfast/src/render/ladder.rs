//! The degradation ladder as a table.

use ladder::{Cell, Failure, Ladder, Plan};

use super::table;

/// A line for each operation and dependency, a column for each failure; under it why some do not come up, and what the names mean.
pub(crate) fn rows(whole: &Ladder, cells: &[&Cell]) -> String {
    let (mut lines, mut reasons) = (Vec::new(), Vec::<String>::new());
    for row in cells.chunks(Failure::ALL.len()) {
        let Some(first) = row.first() else { continue };
        let mut line = vec![first.operation.clone(), first.dependency.clone()];
        for cell in row {
            line.push(match &cell.plan {
                Plan::Steps(_) => cell.plan.to_string(),
                Plan::None(reason) => format!("- [{}]", number(&mut reasons, reason)),
            });
        }
        lines.push(line);
    }
    let mut head = vec!["OPERATION", "WHEN"];
    let failures = Failure::ALL.map(|failure| failure.name().to_uppercase());
    head.extend(failures.iter().map(String::as_str));
    let mut text = table(&head, &lines);
    text.push('\n');
    for (index, reason) in reasons.iter().enumerate() {
        text.push_str(&format!("[{}] as ever: {reason}\n", index + 1));
    }
    let shown = |name: &str, of: fn(&Cell) -> &str| cells.iter().any(|cell| of(cell) == name);
    for operation in whole.operations.iter().filter(|it| shown(&it.name, |cell| &cell.operation)) {
        text.push_str(&format!("{}: {}\n", operation.name, operation.what));
    }
    for dependency in whole.dependencies.iter().filter(|it| shown(&it.name, |cell| &cell.dependency)) {
        text.push_str(&format!("{}: {}\n", dependency.name, dependency.what));
    }
    text
}

/// The number of a reason, from 1.
fn number(reasons: &mut Vec<String>, reason: &str) -> usize {
    let known = reasons.iter().position(|known| known == reason);
    1 + known.unwrap_or_else(|| {
        reasons.push(reason.to_owned());
        reasons.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_row() {
        let whole = Ladder::compiled().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let text = rows(&whole, &whole.cells_of(Some("get"), Some("meta-quorum")));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("OPERATION  WHEN") && lines[0].ends_with("OVERLOADED"), "{text}");
        assert!(lines[1].starts_with("get        meta-quorum  stale(15m), refuse"), "{text}");
        assert_eq!(lines[2], "");
        assert!(text.contains("\nget: ") && text.contains("\nmeta-quorum: ") && !text.contains("\nput: "), "{text}");
    }
}
