//! The little Markdown that our own pages use: headings, paragraphs, lists, tables, code.

use super::html::{self, escape, inline};

/// HTML of a page.
pub(super) fn render(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let level = line.bytes().take_while(|b| *b == b'#').count();
        if level > 0 {
            let title = line[level..].trim();
            out += &format!("<h{level} id=\"{}\">{}</h{level}>\n", anchor(title), inline(title));
        } else if line.starts_with("```") {
            let code: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            out += &format!("<pre>{}</pre>\n", escape(&code.join("\n")));
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row);
            }
            out += &table(&rows);
        } else if let Some(first) = line.strip_prefix("- ") {
            let mut items = vec![first.to_owned()];
            while let Some(next) = lines.next_if(|l| l.starts_with("- ") || l.starts_with("  ")) {
                match (next.strip_prefix("- "), items.last_mut()) {
                    (None, Some(item)) => *item += &format!(" {}", next.trim()),
                    (item, _) => items.push(item.unwrap_or(next).to_owned()),
                }
            }
            let items = items.iter().map(|item| format!("<li>{}</li>\n", inline(item)));
            out += &format!("<ul>\n{}</ul>\n", items.collect::<String>());
        } else if !line.trim().is_empty() {
            let mut paragraph = line.to_owned();
            while let Some(next) = lines.next_if(|line| is_text(line)) {
                paragraph += &format!(" {next}");
            }
            out += &format!("<p>{}</p>\n", inline(&paragraph));
        }
    }
    out
}

fn is_text(line: &str) -> bool {
    let special = ["#", "|", "- ", "```"];
    !line.trim().is_empty() && !special.iter().any(|begin| line.starts_with(begin))
}

fn anchor(title: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    title.chars().map(word).collect()
}

fn table(rows: &[&str]) -> String {
    let cells = |row: &str| -> Vec<String> {
        row.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let head = cells(rows.first().copied().unwrap_or_default());
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let html = |row: &&str| cells(row).iter().map(|cell| inline(cell)).collect();
    html::table(&head, &rows.iter().skip(2).map(html).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_pages_use_is_rendered_and_everything_is_escaped() {
        let html = render(
            "# A <b>\n\ntwo\nlines of `x < 1`\n\n- one\n  more\n- two\n\n| a | b |\n|---|---|\n\
             | `c` | d |\n\n```\n<x>\n```\n",
        );
        for piece in [
            "<h1 id=\"a--b-\">A &lt;b&gt;</h1>",
            "<p>two lines of <code>x &lt; 1</code></p>",
            "<li>one more</li>\n<li>two</li>",
            "<th>a</th><th>b</th>",
            "<td><code>c</code></td><td>d</td>",
            "<pre>&lt;x&gt;</pre>",
        ] {
            assert!(html.contains(piece), "{piece} in {html}");
        }
    }
}
