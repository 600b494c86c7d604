//! Why a command is refused: one enum of stable words, one HTTP status each.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($variant:ident = $word:literal, $status:literal, $title:literal;)*) => {
        /// A stable word of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code { $(#[doc = $title] $variant,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];
            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Code::$variant => $word,)* } }
            /// The HTTP status it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Code::$variant => $status,)* } }
            /// A short title.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Code::$variant => $title,)* } }
        }
    };
}

codes! {
    Unauthenticated = "unauthenticated", 401, "A valid token is needed";
    NotPermitted = "not_permitted", 403, "The role does not permit this";
    CsrfRejected = "csrf_rejected", 403, "A cross-site write was refused";
    NotFound = "not_found", 404, "No such thing";
    WorkspaceNotFound = "workspace_not_found", 404, "No such workspace";
    FileNotFound = "file_not_found", 404, "No such file";
    ProcessNotFound = "process_not_found", 404, "No such process";
    SandboxNotFound = "sandbox_not_found", 404, "No such sandbox";
    UserNotFound = "user_not_found", 404, "No such user";
    MemberNotFound = "member_not_found", 404, "No such member";
    LinkNotFound = "link_not_found", 404, "No such link, or it was revoked or has expired";
    MethodNotAllowed = "method_not_allowed", 405, "This method is not known here";
    PathExists = "path_exists", 409, "The path exists";
    GeneratedFolder = "generated_folder", 409, "The path lies in a generated folder";
    NotADirectory = "not_a_directory", 409, "A parent of the path is no directory";
    IsADirectory = "is_a_directory", 409, "The path is a directory";
    IsALink = "is_a_link", 409, "The path is a symbolic link";
    ProcessEnded = "process_ended", 409, "The process has ended";
    NoPty = "no_pty", 409, "The process has no terminal";
    SandboxEnded = "sandbox_ended", 409, "The sandbox has ended";
    VersionConflict = "version_conflict", 412, "The file has changed meanwhile";
    TooLarge = "too_large", 413, "Too large";
    UnsupportedMediaType = "unsupported_media_type", 415, "The content type is not taken here";
    RangeNotSatisfiable = "range_not_satisfiable", 416, "The range lies outside the file";
    BodyInvalid = "body_invalid", 422, "The body is not what is asked for here";
    JsonMalformed = "json_malformed", 400, "The body is no JSON";
    IdInvalid = "id_invalid", 400, "Not a UUID";
    QueryInvalid = "query_invalid", 422, "A query parameter is not what is asked for here";
    MessageInvalid = "message_invalid", 422, "The message is not one that is taken on this stream";
    ResumeInvalid = "resume_invalid", 422, "The place to resume at was never reached";
    ResumeUnexpected = "resume_unexpected", 409, "The stream is not one that is resumed, or was resumed already";
    CursorInvalid = "cursor_invalid", 422, "The cursor is none of this list's";
    PathInvalid = "path_invalid", 422, "The path breaks a rule";
    NameInvalid = "name_invalid", 422, "The name breaks a rule";
    TemplateUnknown = "template_unknown", 422, "No such template";
    InstanceTypeUnknown = "instance_type_unknown", 422, "No such instance type";
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The idempotency key was used for another request";
    IdempotencyKeyInvalid = "idempotency_key_invalid", 422, "The idempotency key is empty or longer than 128 characters";
    UpgradeRequired = "upgrade_required", 426, "A WebSocket is needed here";
    InputFull = "input_full", 429, "The program has not read its input";
    RateLimited = "rate_limited", 429, "Too many requests";
    QuotaExceeded = "quota_exceeded", 403, "The quota is used up";
    SandboxUnavailable = "sandbox_unavailable", 503, "A sandbox can't be had";
    Overloaded = "overloaded", 503, "The node is full";
    Retry = "retry", 503, "This can't be done right now";
    Internal = "internal", 500, "Something broke here";
}

/// A command that was refused, and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Refused {
    /// The word.
    pub code: Code,
    /// What was wrong here, for a person.
    pub detail: String,
}

impl Refused {
    /// Refuses with this word and these particulars.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The state of things stands in the way for now: a retry may do.
    pub fn retry(detail: impl Into<String>) -> Self {
        Self::new(Code::Retry, detail)
    }
}

impl Refused {
    /// Whether a retry of the same request is refused the same. What is full or busy now may not be so then.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        let status = self.code.status();
        status < 500 && status != 429 && !matches!(self.code, Code::QuotaExceeded)
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self::new(code, code.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_retry_may_change_is_not_final() {
        assert!(Refused::from(Code::PathExists).is_final());
        for passing in [Code::QuotaExceeded, Code::InputFull, Code::Retry, Code::Internal] {
            assert!(!Refused::from(passing).is_final(), "{passing:?}");
        }
    }
}
