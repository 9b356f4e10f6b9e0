//! The promise: every command that README and `docs/` show is one that this program takes.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::Path;

/// The lines of a page's `sh` blocks, with lines that end in a backslash joined.
fn shell_lines(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The commands of a line, each as its words: quotes are opened, what stands behind `#` is a remark, and `;`, `&&`, `|`
/// and `>` end a command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ';' | '&' | '|' | '>') => {
                words.extend(word.take());
                all.push(std::mem::take(&mut words));
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    all.push(words);
    all.retain(|words| !words.is_empty());
    all
}

#[test]
fn every_command_that_the_documents_show_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages.chain(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name))) {
        let text = fs::read_to_string(&page).unwrap();
        for line in shell_lines(&text) {
            for words in commands(&line).into_iter().filter(|words| words[0] == "otolith") {
                seen += 1;
                if let Err(error) = otolith_cli::check_arguments(words) {
                    wrong.push(format!("{}: `{line}`: {error}", page.display()));
                }
            }
        }
    }
    println!("figure documented_commands = {seen}");
    assert!(seen > 40, "only {seen} commands seen");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_line_is_taken_apart_as_a_shell_does() {
    let line = r#"otolith list db --filter "class = 'dog'" --param '$ID';  cat x | otolith get db a  # why"#;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        commands(line),
        [
            words(&["otolith", "list", "db", "--filter", "class = 'dog'", "--param", "$ID"]),
            words(&["cat", "x"]),
            words(&["otolith", "get", "db", "a"]),
        ]
    );
    assert!(otolith_cli::check_arguments(words(&["otolith", "search", "db"])).is_err());
}
