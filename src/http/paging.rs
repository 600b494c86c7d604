//! Lists page with `?limit=` and `?cursor=`; every answer with `items` has a `next_cursor` or null.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use crate::actors::{Code, PageRequest, Paged, paging};

/// How many items a page has when nobody says.
pub const DEFAULT_LIMIT: usize = 100;
/// The most a page may have.
pub const MAX_LIMIT: usize = 1000;
/// The longest cursor that is looked at, in bytes: a path in base64, and some.
const CURSOR_BYTES: usize = 8192;

/// The query of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most this many items, 1 to 1000; 100 by default.
    limit: Option<String>,
    /// Goes on where an earlier answer's `next_cursor` says.
    cursor: Option<String>,
}

impl PageQuery {
    /// What it asks for.
    ///
    /// # Errors
    /// `query_invalid` for a limit out of bounds.
    pub fn page(&self) -> Result<PageRequest, Problem> {
        let limit = match &self.limit {
            None => DEFAULT_LIMIT,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
                _ => {
                    return Err(Problem::new(
                        Code::QueryInvalid,
                        format!("limit: a number from 1 to {MAX_LIMIT} is needed"),
                    ));
                }
            },
        };
        let cursor = self.cursor.clone().filter(|cursor| !cursor.is_empty());
        if cursor.as_ref().is_some_and(|cursor| cursor.len() > CURSOR_BYTES) {
            return Err(Code::CursorInvalid.into());
        }
        Ok(PageRequest { limit, cursor })
    }
}

/// A page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// For the next request; null at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// All of a list that is no resource to page through, as an upload's files.
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }

    /// The page of a list that is at hand whole and in order; `key` names an item.
    ///
    /// # Errors
    /// `query_invalid`, `cursor_invalid`.
    pub fn of(
        list: &str,
        items: impl IntoIterator<Item = T>,
        query: &PageQuery,
        key: impl Fn(&T) -> String,
    ) -> Result<Self, Problem> {
        let page = query.page()?;
        let mut items = items.into_iter();
        if let Some(after) = paging::after(list, &page)? {
            items.by_ref().find(|item| key(item) == after).ok_or(Code::CursorInvalid)?;
        }
        Ok(paging::cut(list, items, page.limit, key).into())
    }
}

impl<T> From<Paged<T>> for Page<T> {
    fn from(paged: Paged<T>) -> Self {
        Self { items: paged.items, next_cursor: paged.next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_at_hand_is_paged_too() {
        let page = |limit: &str, cursor: Option<String>| {
            let query = PageQuery { limit: Some(limit.to_owned()), cursor };
            Page::of("letters", ["a", "b", "c"], &query, |letter| (*letter).to_owned())
        };
        let first = page("2", None).expect("a page");
        assert_eq!(first.items, ["a", "b"]);
        let second = page("2", first.next_cursor).expect("a page");
        assert_eq!((second.items, second.next_cursor), (vec!["c"], None));
        assert_eq!(page("2", Some("YQ".into())).map_err(|problem| problem.code()).err(), Some(Code::CursorInvalid));
    }

    fn page(limit: &str) -> Result<usize, Code> {
        let query = PageQuery { limit: Some(limit.to_owned()), cursor: None };
        query.page().map(|page| page.limit).map_err(|problem| problem.code())
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(PageQuery::default().page().expect("fine").limit, 100);
        assert_eq!(page("1"), Ok(1));
        assert_eq!(page("1000"), Ok(1000));
        for bad in ["0", "1001", "-1", "", "ten", "99999999999999999999999"] {
            assert_eq!(page(bad), Err(Code::QueryInvalid), "{bad:?}");
        }
    }
}
