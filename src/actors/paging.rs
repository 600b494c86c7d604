//! Pages of lists: a cursor is the key of the last item given, in base64 so that nobody builds on what it holds, and
//! marked with its list so that it goes on in no other.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{Code, PageRequest, Paged, Refused};

/// The most items of one page.
pub const PAGE_ITEMS: usize = 1000;
/// How many bytes of a list's hash mark its cursors.
const MARK_BYTES: usize = 6;

fn mark(list: &str) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark.copy_from_slice(&blake3::hash(list.as_bytes()).as_bytes()[..MARK_BYTES]);
    mark
}

/// The key after which the page of this list begins; `None` at the list's beginning.
///
/// # Errors
/// `cursor_invalid` for a cursor that this list never gave.
pub fn after(list: &str, request: &PageRequest) -> Result<Option<String>, Refused> {
    let Some(cursor) = &request.cursor else { return Ok(None) };
    let key = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| {
        let key = bytes.strip_prefix(&mark(list))?;
        String::from_utf8(key.to_vec()).ok()
    });
    key.map(Some).ok_or_else(|| Code::CursorInvalid.into())
}

/// A page of a list's items that begin after the cursor already; `key` gives an item's place in the list's order.
pub fn cut<T>(list: &str, items: impl IntoIterator<Item = T>, limit: usize, key: impl Fn(&T) -> String) -> Paged<T> {
    let limit = limit.clamp(1, PAGE_ITEMS);
    let mut items = items.into_iter();
    let page: Vec<T> = items.by_ref().take(limit).collect();
    let more = items.next().is_some();
    let cursor = |last: &T| BASE64_URL_SAFE_NO_PAD.encode([&mark(list)[..], key(last).as_bytes()].concat());
    let next_cursor = page.last().filter(|_| more).map(cursor);
    Paged { items: page, next_cursor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap() {
        let all: Vec<u32> = (100..110).collect();
        let mut seen: Vec<u32> = Vec::new();
        let mut request = PageRequest { limit: 3, cursor: None };
        loop {
            let after = after("numbers", &request).expect("a cursor that was given");
            let rest = all.iter().copied().filter(|n| after.as_ref().is_none_or(|after| n.to_string() > *after));
            let page = cut("numbers", rest, request.limit, u32::to_string);
            seen.extend(&page.items);
            request.cursor = page.next_cursor;
            if request.cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_cursor_that_was_never_given_is_refused() {
        let others = cut("letters", ["a", "b"], 1, ToString::to_string).next_cursor;
        for cursor in [Some("&&".to_owned()), Some("MQ".to_owned()), others] {
            let request = PageRequest { limit: 1, cursor };
            assert_eq!(after("numbers", &request).unwrap_err().code, Code::CursorInvalid);
        }
    }
}
