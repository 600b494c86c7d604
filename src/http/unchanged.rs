//! Lists of the tree on a condition: whoever asks again and again gets one only when it is another.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::files::etags;

/// How many characters of a question's hash mark its etags.
const MARK_CHARACTERS: usize = 16;

/// What was asked of a tree. With the tree's version it makes the answer's `ETag`.
pub struct Question(String);

impl Question {
    /// All that the answer depends on beside the tree.
    pub fn new(asked: &impl Serialize) -> Self {
        // Without a mark nothing is known, and every answer is whole.
        let asked = serde_json::to_vec(asked).unwrap_or_default();
        let mut mark = blake3::hash(&asked).to_hex().to_string();
        mark.truncate(MARK_CHARACTERS);
        Self(mark)
    }

    /// The tree's version in the answer to this very question that the caller has.
    pub fn known(&self, headers: &HeaderMap) -> Option<u64> {
        let etags = etags(headers, header::IF_NONE_MATCH);
        etags.iter().find_map(|etag| {
            // A weak mark doesn't matter here: the comparison for `If-None-Match` is the weak one.
            let (version, mark) = etag.strip_prefix("W/\"").unwrap_or(etag).split_once('-')?;
            if mark == self.0 { u64::from_str_radix(version, 16).ok() } else { None }
        })
    }

    /// The answer; without a list the caller has it.
    pub fn answer(&self, version: u64, list: Option<impl Serialize>) -> Response {
        let etag = HeaderValue::from_str(&format!("\"{version:x}-{}\"", self.0));
        let head = [(header::ETAG, etag.unwrap_or(HeaderValue::from_static("\"\"")))];
        match list {
            Some(list) => (head, Json(list)).into_response(),
            None => (StatusCode::NOT_MODIFIED, head).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_own_etag_to_its_own_question() {
        let question = Question::new(&("/src", false));
        let answer = question.answer(26, Some("a list"));
        assert_eq!(answer.status(), StatusCode::OK);
        let etag = answer.headers()[header::ETAG].to_str().expect("text").to_owned();
        let known = |question: &Question, asked: &str| {
            let headers =
                HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(asked).expect("a value"))]);
            question.known(&headers)
        };
        assert_eq!(known(&question, &etag), Some(26));
        assert_eq!(known(&question, &format!("\"other\", W/{etag}")), Some(26));
        assert_eq!(known(&Question::new(&("/", false)), &etag), None);
        for odd in ["\"\"", "\"-\"", "*", "\"zz-\"", "\"1a\""] {
            assert_eq!(known(&question, odd), None, "{odd}");
        }
        assert_eq!(question.known(&HeaderMap::new()), None);
        let unchanged = question.answer(26, None::<()>);
        assert_eq!(
            (unchanged.status(), &unchanged.headers()[header::ETAG]),
            (StatusCode::NOT_MODIFIED, &answer.headers()[header::ETAG])
        );
    }
}
