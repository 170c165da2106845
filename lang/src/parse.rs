//! The parser: a cursor over tokens, and match expressions. Actions are in `parse_action`.

use std::ops::Range;

use crate::check::{self, CheckError};
use crate::constant::Const;
use crate::expr::{Cmp, Expr, Operand, RelOp};
use crate::field::{Field, Level, Predicate};
use crate::lexer::{ParseError, Spanned, Token, tokens};
use crate::suggest::nearest;

/// How deep parentheses and braces may nest; deeper text is refused rather than exhausting the stack.
const MAX_DEPTH: usize = 100;

/// Parses a match expression, checking types and levels.
pub fn parse_match(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text)?;
    let expr = parser.expression(false)?;
    parser.finish("`&&' or `||'")?;
    Ok(expr)
}

/// Parses constants alone: `10.0.0.1`, `{8.8.8.8, 7.7.7.7}`, `"name"`, as in the options of NB's DHCP_Options.
/// The flag says whether they stood in braces.
pub fn parse_constants(text: &str) -> Result<(Vec<Const>, bool), ParseError> {
    let mut parser = Parser::new(text)?;
    let braces = *parser.peek() == Token::Punct("{");
    let operand = parser.operand()?;
    parser.finish("end of input")?;
    Ok((operand, braces))
}

/// A cursor over the tokens of a text.
pub(crate) struct Parser {
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
}

/// A field or predicate that a name stands for.
enum Name {
    Field(Field),
    Pred(Predicate),
}

impl Parser {
    pub(crate) fn new(text: &str) -> Result<Self, ParseError> {
        Ok(Parser {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
        })
    }

    pub(crate) fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    pub(crate) fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].token
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.tokens[self.at].span.clone()
    }

    /// From the start of an earlier token to the end of the last one taken.
    pub(crate) fn since(&self, start: usize) -> Range<usize> {
        let end = self.tokens[self.at.saturating_sub(1)].span.end;
        start..end.max(start)
    }

    pub(crate) fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].token.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    pub(crate) fn eat(&mut self, punct: &str) -> bool {
        let found = matches!(self.peek(), Token::Punct(p) if *p == punct);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn eat_id(&mut self, id: &str) -> bool {
        let found = matches!(self.peek(), Token::Id(name) if name == id);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn expect(&mut self, punct: &str) -> Result<(), ParseError> {
        if self.eat(punct) {
            Ok(())
        } else {
            self.unexpected(&format!("`{punct}'"))
        }
    }

    pub(crate) fn unexpected<T>(&self, wanted: &str) -> Result<T, ParseError> {
        let message = match self.peek() {
            Token::End => format!("syntax error at end of input, expecting {wanted}"),
            token => format!("syntax error at `{}', expecting {wanted}", describe(token)),
        };
        Err(ParseError::new(self.span(), message))
    }

    pub(crate) fn finish(&self, wanted: &str) -> Result<(), ParseError> {
        if *self.peek() == Token::End {
            Ok(())
        } else {
            self.unexpected(wanted)
        }
    }

    /// Runs `parse` one level deeper.
    pub(crate) fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(ParseError::new(
                self.span(),
                "parentheses or braces nested too deeply",
            ));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn checked(&self, start: usize, result: Result<(), CheckError>) -> Result<(), ParseError> {
        result.map_err(|error| ParseError::new(self.since(start), error.0))
    }

    fn expression(&mut self, negated: bool) -> Result<Expr, ParseError> {
        self.nested(|parser| parser.joined(negated))
    }

    fn joined(&mut self, negated: bool) -> Result<Expr, ParseError> {
        let first = self.term(negated)?;
        let (join, other) = match self.peek() {
            Token::Punct("&&") => ("&&", "||"),
            Token::Punct("||") => ("||", "&&"),
            _ => return Ok(first),
        };
        let mut parts = vec![first];
        while self.eat(join) {
            parts.push(self.term(negated)?);
        }
        if *self.peek() == Token::Punct(other) {
            return Err(ParseError::new(
                self.span(),
                "&& and || must be parenthesized when used together",
            ));
        }
        Ok(join_parts(join == "&&", parts))
    }

    fn term(&mut self, negated: bool) -> Result<Expr, ParseError> {
        let start = self.span().start;
        match self.peek().clone() {
            Token::Punct("(") => {
                self.advance();
                let inner = self.expression(negated)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Punct("!") => {
                self.advance();
                let inner = self.nested(|parser| parser.negated_term(!negated))?;
                Ok(Expr::Not(Box::new(inner)))
            }
            Token::Id(name) if name == "is_chassis_resident" => {
                self.advance();
                self.expect("(")?;
                let Token::Text(port) = self.peek().clone() else {
                    return self.unexpected("a port name in quotes");
                };
                self.advance();
                self.expect(")")?;
                Ok(Expr::Resident(port))
            }
            Token::Id(_) => self.named_term(start, negated),
            _ => self.constant_term(start, negated),
        }
    }

    /// What stands after `!`: not a comparison, unless in parentheses.
    fn negated_term(&mut self, negated: bool) -> Result<Expr, ParseError> {
        let bare = !matches!(self.peek(), Token::Punct("(" | "!"));
        let term = self.term(negated)?;
        if bare && matches!(term, Expr::Cmp(_)) {
            return Err(ParseError::new(
                self.since(0),
                "missing parentheses around the operand of !",
            ));
        }
        Ok(term)
    }

    /// `field`, `field op constants`.
    fn named_term(&mut self, start: usize, negated: bool) -> Result<Expr, ParseError> {
        let name = self.name()?;
        let Some(op) = self.relation() else {
            return match name {
                Name::Field(field) => {
                    self.checked(start, check::bit_mention(field))?;
                    Ok(Expr::Bit(field))
                }
                Name::Pred(predicate) => {
                    self.checked(start, check::predicate_mention(predicate, negated))?;
                    Ok(Expr::Pred(predicate))
                }
            };
        };
        let constants = self.operand()?;
        self.compare(start, name, op, constants, negated)
    }

    /// `0`, `1`, `constants op field`, `constant op field op constant`.
    fn constant_term(&mut self, start: usize, negated: bool) -> Result<Expr, ParseError> {
        let constants = self.operand()?;
        let Some(op) = self.relation() else {
            if let [Const::Int(int)] = constants.as_slice()
                && int.value() <= 1
                && int.mask().is_none()
            {
                return Ok(Expr::Bool(int.value() == 1));
            }
            return self.unexpected("a relational operator");
        };
        let name = self.name()?;
        let second_at = self.span();
        let Some(second) = self.relation() else {
            return self.compare(start, name, op.mirrored(), constants, negated);
        };
        let rising = |op| matches!(op, RelOp::Lt | RelOp::Le);
        let falling = |op| matches!(op, RelOp::Gt | RelOp::Ge);
        if !(rising(op) && rising(second) || falling(op) && falling(second)) {
            return Err(ParseError::new(
                second_at,
                "a range expression must have the form `x < field < y' or `x > field > y'",
            ));
        }
        let field = match &name {
            Name::Field(field) => Name::Field(*field),
            Name::Pred(predicate) => Name::Pred(*predicate),
        };
        let low = self.compare(start, field, op.mirrored(), constants, negated)?;
        let constants = self.operand()?;
        let high = self.compare(start, name, second, constants, negated)?;
        Ok(Expr::all([low, high]))
    }

    fn compare(
        &mut self,
        start: usize,
        name: Name,
        op: RelOp,
        constants: Vec<Const>,
        negated: bool,
    ) -> Result<Expr, ParseError> {
        match name {
            Name::Field(field) => {
                let operand = Operand::of(constants);
                self.checked(start, check::comparison(field, op, &operand, negated))?;
                Ok(Expr::Cmp(Cmp { field, op, operand }))
            }
            Name::Pred(predicate) => {
                let wanted = match (op, constants.as_slice()) {
                    (RelOp::Eq, [Const::Int(int)]) if int.value() <= 1 => int.value() == 1,
                    (RelOp::Ne, [Const::Int(int)]) if int.value() <= 1 => int.value() == 0,
                    _ => {
                        let message =
                            format!("predicate {predicate} may only be compared with 0 or 1");
                        return Err(ParseError::new(self.since(start), message));
                    }
                };
                self.checked(
                    start,
                    check::predicate_mention(predicate, negated == wanted),
                )?;
                let mention = Expr::Pred(predicate);
                Ok(if wanted {
                    mention
                } else {
                    Expr::Not(Box::new(mention))
                })
            }
        }
    }

    fn relation(&mut self) -> Option<RelOp> {
        let op = match self.peek() {
            Token::Punct("==") => RelOp::Eq,
            Token::Punct("!=") => RelOp::Ne,
            Token::Punct("<") => RelOp::Lt,
            Token::Punct("<=") => RelOp::Le,
            Token::Punct(">") => RelOp::Gt,
            Token::Punct(">=") => RelOp::Ge,
            _ => return None,
        };
        self.advance();
        Some(op)
    }

    fn name(&mut self) -> Result<Name, ParseError> {
        let Token::Id(id) = self.peek().clone() else {
            return self.unexpected("a field name");
        };
        if let Some(predicate) = Predicate::by_name(&id) {
            self.advance();
            return match self.peek() {
                Token::Punct("[") => Err(ParseError::new(
                    self.span(),
                    format!("predicate {id} has no bits"),
                )),
                _ => Ok(Name::Pred(predicate)),
            };
        }
        self.field().map(Name::Field)
    }

    /// A field with an optional range of bits.
    pub(crate) fn field(&mut self) -> Result<Field, ParseError> {
        let start = self.span().start;
        let Token::Id(id) = self.peek().clone() else {
            return self.unexpected("a field name");
        };
        let Some(field) = Field::by_name(&id) else {
            let names = Field::all()
                .map(|field| field.symbol().name)
                .chain(Predicate::all().map(Predicate::name));
            let suggestion = nearest(&id, names.chain(["is_chassis_resident"]));
            let message = match Predicate::by_name(&id) {
                Some(_) => format!("predicate {id} is not a field"),
                None => format!("unknown field `{id}'"),
            };
            return Err(ParseError {
                span: self.span(),
                message,
                suggestion,
            });
        };
        self.advance();
        if !self.eat("[") {
            return Ok(field);
        }
        let low = self.bit_number()?;
        let high = if self.eat("..") {
            self.bit_number()?
        } else {
            low
        };
        self.expect("]")?;
        let refuse = |message: String| Err(ParseError::new(self.since(start), message));
        match field.symbol().level {
            Level::Text => return refuse(format!("cannot select bits of string field {field}")),
            Level::Nominal if low > 0 || high.checked_add(1) != Some(field.width()) => {
                return refuse(format!("cannot select bits of nominal field {field}"));
            }
            _ => {}
        }
        if low > high {
            return refuse(format!(
                "bits {low} to {high} are not a range: the lower number comes first"
            ));
        }
        match field.checked_bits(low, high) {
            Some(bits) => Ok(bits),
            None => refuse(format!(
                "cannot select bits {low} to {high} of {}-bit field {field}",
                field.width()
            )),
        }
    }

    fn bit_number(&mut self) -> Result<u8, ParseError> {
        match self.peek() {
            Token::Int(int) if int.mask().is_none() => {
                let Ok(bit) = u8::try_from(int.value()) else {
                    return Err(ParseError::new(self.span(), "no field has that many bits"));
                };
                self.advance();
                Ok(bit)
            }
            _ => self.unexpected("a bit number"),
        }
    }

    /// One constant, or several in braces.
    pub(crate) fn operand(&mut self) -> Result<Vec<Const>, ParseError> {
        if !self.eat("{") {
            return Ok(vec![self.constant()?]);
        }
        let mut constants = vec![self.constant()?];
        self.eat(",");
        while !self.eat("}") {
            constants.push(self.constant()?);
            self.eat(",");
        }
        Ok(constants)
    }

    pub(crate) fn constant(&mut self) -> Result<Const, ParseError> {
        let constant = match self.peek().clone() {
            Token::Int(int) => Const::Int(int),
            Token::Text(text) => Const::Str(text),
            Token::Set(name) => Const::Set(name),
            Token::Group(name) => Const::Group(name),
            _ => return self.unexpected("a constant"),
        };
        self.advance();
        Ok(constant)
    }
}

/// As the constructors of `Expr` do, but keeping `1` and `0` as they were written.
fn join_parts(conjunction: bool, parts: Vec<Expr>) -> Expr {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Expr::And(inner) if conjunction => flat.extend(inner),
            Expr::Or(inner) if !conjunction => flat.extend(inner),
            other => flat.push(other),
        }
    }
    if conjunction {
        Expr::And(flat)
    } else {
        Expr::Or(flat)
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Id(name) => name.clone(),
        Token::Text(text) => Const::Str(text.clone()).to_string(),
        Token::Int(int) => int.to_string(),
        Token::Set(name) => format!("${name}"),
        Token::Group(name) => format!("@{name}"),
        Token::Punct(punct) => (*punct).to_owned(),
        Token::End => "end of input".to_owned(),
    }
}
