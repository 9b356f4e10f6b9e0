//! Reads a filter by recursive descent, one function a rule of the grammar.
//!
//! It is written by hand and not with parser combinators: half of the work is to say what was meant by text that does
//! not fit.

use super::expression::{Expression, ID, Operator, Subject, WORDS};
use super::lexer::{self, Stop, Token, stop};
use crate::error::{Error, Result};
use crate::limits;
use serde_json::Value;
use std::collections::HashMap;

/// Reads a whole expression; each `?` in it stands for the next of `values`.
pub(super) fn parse(text: &str, values: &[Value]) -> Result<Expression> {
    if text.len() > limits::FILTER_BYTES {
        return Err(Error::invalid("filter", format!("{} bytes long: at most {}", text.len(), limits::FILTER_BYTES)));
    }
    let mut parser = Parser { text, start: 0, token: Token::End, end: 0, depth: 0, values: values.iter() };
    let mut read = || {
        parser.advance()?;
        let expression = parser.expression()?;
        parser.expect_end()?;
        Ok(expression)
    };
    let expression =
        read().map_err(|Stop { at_byte, what }| Error::FilterSyntax { filter: text.to_owned(), at_byte, what })?;
    match parser.values.len() {
        0 => Ok(expression),
        left => {
            let used = values.len() - left;
            Err(Error::invalid("filter", format!("{} values for {used} `?` in `{text}`", values.len())))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// The current token, and the bytes where it begins and ends.
    token: Token,
    start: usize,
    end: usize,
    /// How many parentheses and `not` are open.
    depth: usize,
    /// The values for the `?` that are still to come.
    values: std::slice::Iter<'a, Value>,
}

impl<'a> Parser<'a> {
    /// Moves on to the next token and returns the one before.
    fn advance(&mut self) -> Result<Token, Stop> {
        let (start, token, end) = lexer::next(self.text, self.end)?;
        (self.start, self.end) = (start, end);
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn at_word(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    /// Returns whether the current token is this word, and moves on if it is.
    fn pass_word(&mut self, word: &str) -> Result<bool, Stop> {
        let there = self.at_word(word);
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    fn pass(&mut self, token: Token, what: &str) -> Result<(), Stop> {
        if self.token != token {
            return self.unexpected(what);
        }
        self.advance().map(drop)
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, Stop> {
        match self.text[self.start..self.end].char_indices().nth(40) {
            _ if self.token == Token::End => stop(self.start, format!("expected {expected}, found the end")),
            None => stop(self.start, format!("expected {expected}, found `{}`", &self.text[self.start..self.end])),
            Some((cut, _)) => {
                let found = &self.text[self.start..self.start + cut];
                stop(self.start, format!("expected {expected}, found `{found}..`"))
            }
        }
    }

    /// Runs `rule` one level deeper.
    fn deeper<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.depth == limits::FILTER_DEPTH {
            return stop(
                self.start,
                format!("more than {} parentheses and `not` inside each other", limits::FILTER_DEPTH),
            );
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    fn expression(&mut self) -> Result<Expression, Stop> {
        let mut operands = Vec::new();
        loop {
            match self.conjunction()? {
                Expression::Or(inner) => operands.extend(inner),
                operand => operands.push(operand),
            }
            if !self.pass_word("or")? {
                return Ok(alone(gather(operands), Expression::Or));
            }
        }
    }

    fn conjunction(&mut self) -> Result<Expression, Stop> {
        let mut operands = Vec::new();
        loop {
            match self.negation()? {
                Expression::And(inner) => operands.extend(inner),
                operand => operands.push(operand),
            }
            if !self.pass_word("and")? {
                return Ok(alone(operands, Expression::And));
            }
        }
    }

    fn negation(&mut self) -> Result<Expression, Stop> {
        if self.pass_word("not")? {
            return Ok(Expression::Not(Box::new(self.deeper(Self::negation)?)));
        }
        if self.token == Token::Open {
            self.advance()?;
            let inner = self.deeper(Self::expression)?;
            self.pass(Token::Close, "`)`, `and` or `or`")?;
            return Ok(inner);
        }
        if self.pass_word("exists")? {
            self.pass(Token::Open, "`(` and a field: exists(field)")?;
            if matches!(&self.token, Token::Word(word) if word == ID) {
                return self.unexpected("a field (every record has an id; a field of that name stands in backticks)");
            }
            let field = self.field("a field")?;
            self.pass(Token::Close, "`)`")?;
            return Ok(Expression::Exists(field));
        }
        let is_id = matches!(&self.token, Token::Word(word) if word == ID);
        let field = self.field("a comparison such as field = 'text', exists(field), `not` or `(`")?;
        self.comparison(if is_id { Subject::Id } else { Subject::Field(field) })
    }

    fn field(&mut self, expected: &str) -> Result<String, Stop> {
        let name = match &self.token {
            Token::Word(word) if !is_reserved(word) => word.clone(),
            Token::Field(name) => name.clone(),
            Token::Word(word) if !self.at_word("and") && !self.at_word("or") => {
                return self.unexpected(&format!("{expected} (a field of that name stands in backticks: `{word}`)"));
            }
            Token::Text(_) => {
                return self.unexpected(&format!("{expected} (the field comes first, without quotes or in backticks)"));
            }
            _ => return self.unexpected(expected),
        };
        self.advance()?;
        Ok(name)
    }

    fn comparison(&mut self, subject: Subject) -> Result<Expression, Stop> {
        if self.pass_word("in")? {
            return Ok(Expression::any_of(subject.clone(), self.list(&subject)?));
        }
        if self.at_word("not")
            && matches!(lexer::next(self.text, self.end)?.1, Token::Word(word) if word.eq_ignore_ascii_case("in"))
        {
            self.advance()?;
            self.advance()?;
            let among = Expression::any_of(subject.clone(), self.list(&subject)?);
            return Ok(Expression::Not(Box::new(among)));
        }
        if let Token::Operator(operator) = self.token {
            self.advance()?;
            let value = self.value(&subject)?;
            return Ok(Expression::Compare(subject, operator, value));
        }
        let expected = "`=`, `!=`, `<`, `<=`, `>`, `>=` or `in` after the field";
        let hint = match &self.token {
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "is" => " (null is compared by `= null`)",
                "between" => " (write field >= 1 and field <= 2)",
                "like" | "ilike" | "contains" | "matches" | "startswith" => {
                    " (there is no matching of parts of text: compare with `=` or `in ('a', 'b')`)"
                }
                _ => "",
            },
            _ => "",
        };
        self.unexpected(&format!("{expected}{hint}"))
    }

    fn list(&mut self, subject: &Subject) -> Result<Vec<Value>, Stop> {
        if self.token == Token::Parameter {
            let Value::Array(values) = self.parameter()? else {
                return stop(self.start, "a list must be given for a `?` behind `in` (or write `in (?)`)");
            };
            values.iter().try_for_each(|value| self.check(subject, value))?;
            self.advance()?;
            return Ok(values.clone());
        }
        self.pass(Token::Open, "`(` and values: in ('a', 'b')")?;
        let mut values = Vec::new();
        if self.token != Token::Close {
            values.push(self.value(subject)?);
            while self.token == Token::Comma {
                self.advance()?;
                values.push(self.value(subject)?);
            }
        }
        self.pass(Token::Close, "`,` or `)`")?;
        Ok(values)
    }

    fn value(&mut self, subject: &Subject) -> Result<Value, Stop> {
        let value = match &self.token {
            Token::Text(text) => Value::String(text.clone()),
            Token::Number(number) => Value::Number(number.clone()),
            Token::Parameter => self.parameter()?.clone(),
            Token::Word(_) if self.at_word("true") => Value::Bool(true),
            Token::Word(_) if self.at_word("false") => Value::Bool(false),
            Token::Word(_) if self.at_word("null") => Value::Null,
            Token::Word(word) | Token::Field(word) if !is_reserved(word) => {
                return self.unexpected(&format!("a value (text stands in quotes: '{word}')"));
            }
            Token::Open => return self.unexpected("one value (several are compared by in ('a', 'b'))"),
            _ => return self.unexpected("a value: 'text', a number, true, false or null"),
        };
        self.check(subject, &value)?;
        self.advance()?;
        Ok(value)
    }

    /// Returns the value for the `?` that is the current token.
    fn parameter(&mut self) -> Result<&'a Value, Stop> {
        match self.values.next() {
            Some(value) => Ok(value),
            None => stop(self.start, "no value is given for this `?` (a text with one stands in quotes)"),
        }
    }

    /// Refuses a value that can never be equal, rather than finding nothing.
    fn check(&self, subject: &Subject, value: &Value) -> Result<(), Stop> {
        match (subject, value) {
            (_, Value::Array(_) | Value::Object(_)) => {
                stop(self.start, format!("{value} was given: text, a number, true, false or null can be compared"))
            }
            (Subject::Id, Value::String(_)) | (Subject::Field(_), _) => Ok(()),
            (Subject::Id, other) => {
                stop(self.start, format!("an id is text: '{other}' (a field named {ID} stands in backticks)"))
            }
        }
    }

    fn expect_end(&self) -> Result<(), Stop> {
        match &self.token {
            Token::End => Ok(()),
            Token::Close => stop(self.start, "this `)` was never opened"),
            _ if self.text[..self.start].ends_with(['\'', '"']) => {
                self.unexpected("`and`, `or` or the end (a quote within text is written \\')")
            }
            _ => self.unexpected("`and`, `or` or the end"),
        }
    }
}

fn is_reserved(word: &str) -> bool {
    WORDS.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// Makes a chain of operands; one alone stays as it is.
fn alone(mut operands: Vec<Expression>, chain: impl FnOnce(Vec<Expression>) -> Expression) -> Expression {
    match operands.len() {
        1 => operands.swap_remove(0),
        _ => chain(operands),
    }
}

/// Puts one list in place of several equalities of one subject: `a = 1 or a = 2` becomes `a in (1, 2)`, which is looked
/// up at once.
fn gather(operands: Vec<Expression>) -> Vec<Expression> {
    let mut gathered = Vec::with_capacity(operands.len());
    let mut places: HashMap<Subject, usize> = HashMap::new();
    for operand in operands {
        let (subject, mut values) = match operand {
            Expression::Compare(subject, Operator::Equal, value) => (subject, vec![value]),
            Expression::In(subject, values) => (subject, values),
            other => {
                gathered.push(other);
                continue;
            }
        };
        let at = *places.entry(subject.clone()).or_insert(gathered.len());
        match gathered.get_mut(at) {
            Some(Expression::In(_, before)) => before.append(&mut values),
            _ => gathered.push(Expression::In(subject, values)),
        }
    }
    let sorted = |operand| match operand {
        Expression::In(subject, values) => Expression::any_of(subject, values),
        other => other,
    };
    gathered.into_iter().map(sorted).collect()
}
