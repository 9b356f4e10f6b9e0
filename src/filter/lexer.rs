//! Cuts a filter's text into tokens, each with the byte where it begins.

use super::expression::{Operator, begins_name, continues_name};
use serde_json::Number;

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A bare word: a word of the language or a field.
    Word(String),
    /// A field in backticks.
    Field(String),
    Text(String),
    Number(Number),
    Operator(Operator),
    Open,
    Close,
    Comma,
    /// A `?`, for which a value is given beside the text.
    Parameter,
    End,
}

/// Why reading stopped, and at which byte.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) at_byte: usize,
    pub(super) what: String,
}

/// Makes the error of a stop at a byte.
pub(super) fn stop<T>(at_byte: usize, what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop { at_byte, what: what.into() })
}

/// Returns the next token at or after byte `at`, where it begins and where it ends.
pub(super) fn next(text: &str, at: usize) -> Result<(usize, Token, usize), Stop> {
    let start = text.len() - text[at..].trim_start().len();
    let rest = &text[start..];
    let Some(first) = rest.chars().next() else { return Ok((start, Token::End, start)) };
    let (token, len) = match first {
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        ',' => (Token::Comma, 1),
        '?' => (Token::Parameter, 1),
        '\'' | '"' => text_in_quotes(rest, first, start)?,
        '`' => field_in_backticks(rest, start)?,
        '0'..='9' | '-' | '+' | '.' => number(rest, start)?,
        c if begins_name(c) || c.is_alphabetic() => word(rest, start)?,
        _ => operator(rest, first, start)?,
    };
    Ok((start, token, start + len))
}

fn word(rest: &str, start: usize) -> Result<(Token, usize), Stop> {
    let len = rest.find(|c: char| !(continues_name(c) || c.is_alphanumeric())).unwrap_or(rest.len());
    let word = &rest[..len];
    if word.is_ascii() {
        return Ok((Token::Word(word.to_owned()), len));
    }
    stop(start, format!("`{word}` has letters beyond a to z: put a field in backticks, text in quotes"))
}

fn operator(rest: &str, first: char, start: usize) -> Result<(Token, usize), Stop> {
    const MISTAKES: [(&str, &str); 8] = [
        ("<>", "unequal is written `!=`"),
        ("=>", "at least is written `>=`"),
        ("=<", "at most is written `<=`"),
        ("=~", "there is no matching of patterns: compare with `=` or `in ('a', 'b')`"),
        ("&&", "`&&` is written `and`"),
        ("&", "`&` is written `and`"),
        ("||", "`||` is written `or`"),
        ("|", "`|` is written `or`"),
    ];
    const OPERATORS: [(&str, Operator); 7] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessEqual),
        (">=", Operator::GreaterEqual),
        ("=", Operator::Equal),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    if let Some((_, hint)) = MISTAKES.iter().find(|(mistake, _)| rest.starts_with(mistake)) {
        return stop(start, *hint);
    }
    if let Some((symbol, operator)) = OPERATORS.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
        return Ok((Token::Operator(*operator), symbol.len()));
    }
    match first {
        '!' => stop(start, "`!` is written `not`"),
        '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' => stop(start, "text stands in plain quotes: 'text'"),
        c => stop(start, format!("`{}` means nothing here", c.escape_debug())),
    }
}

fn number(rest: &str, start: usize) -> Result<(Token, usize), Stop> {
    // Takes everything that looks like part of the number, so that `1.2.3` and `5s` are refused whole.
    let mut before = ' ';
    let len = rest
        .find(|c: char| {
            let sign = matches!(c, '+' | '-') && matches!(before, ' ' | 'e' | 'E');
            before = c;
            !(sign || c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))
        })
        .unwrap_or(rest.len());
    let text = &rest[..len];
    match serde_json::from_str::<Number>(text) {
        // The JSON parser would round it without a word.
        Ok(number) if number.is_f64() && text.bytes().skip(1).all(|byte| byte.is_ascii_digit()) && text != "-0" => {
            stop(
                start,
                format!("`{text}` is an integer beyond 64 bits, which no field holds: write one near it as 1.5e20"),
            )
        }
        Ok(number) => Ok((Token::Number(number), len)),
        Err(_) => stop(start, format!("`{text}` is no number such as 5, -0.25 or 1e3 (text stands in quotes)")),
    }
}

fn field_in_backticks(rest: &str, start: usize) -> Result<(Token, usize), Stop> {
    let mut name = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '`' {
            name.push(c);
        } else if chars.next_if(|&(_, c)| c == '`').is_some() {
            name.push('`');
        } else if name.is_empty() {
            return stop(start, "a field name cannot be empty");
        } else {
            return Ok((Token::Field(name), at + 1));
        }
    }
    stop(start, "the backtick that begins here is not closed")
}

fn text_in_quotes(rest: &str, quote: char, start: usize) -> Result<(Token, usize), Stop> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Token::Text(text), at + 1)),
            '\\' => text.push(escaped(rest, &mut chars, start + at)?),
            c => text.push(c),
        }
    }
    stop(start, format!("the quote that begins here is not closed: end the text with {quote}"))
}

/// Returns the character that an escape stands for; `start` is the byte of its backslash.
fn escaped(rest: &str, chars: &mut impl Iterator<Item = (usize, char)>, start: usize) -> Result<char, Stop> {
    let (at, c) = chars.next().unwrap_or((rest.len(), ' '));
    match c {
        '\\' | '\'' | '"' => return Ok(c),
        'n' => return Ok('\n'),
        'r' => return Ok('\r'),
        't' => return Ok('\t'),
        _ => {}
    }
    let digits = rest[at..].strip_prefix("u{").and_then(|rest| rest.split_once('}')).map(|(digits, _)| digits);
    let c = digits
        .filter(|digits| (1..=6).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
    match (c, digits) {
        (Some(c), Some(digits)) => {
            chars.nth(digits.len() + 1); // the braces and what is between them
            Ok(c)
        }
        _ => stop(start, r#"a backslash stands before \ ' " n r t or u{1f600}: write \\ for one of its own"#),
    }
}
