//! The stores' work on files, which blocks, beside the tasks that must not.

use std::io;

/// The runtime ended before a blocking task began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CancelledError;

impl From<CancelledError> for io::Error {
    fn from(_: CancelledError) -> Self {
        Self::new(io::ErrorKind::Interrupted, "the runtime is shutting down")
    }
}

/// Runs on the blocking pool. A panic there goes on here.
pub(super) async fn blocking<T: Send + 'static, E: Send + From<CancelledError> + 'static>(
    run: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(run).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(CancelledError.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_result_and_a_panic_come_back_as_they_are() {
        assert_eq!(blocking(|| io::Result::Ok(7)).await.expect("done"), 7);
        let refused = blocking(|| io::Result::<()>::Err(io::ErrorKind::NotFound.into())).await;
        assert_eq!(refused.expect_err("refused").kind(), io::ErrorKind::NotFound);
        let panicked = tokio::spawn(blocking(|| -> io::Result<()> { std::panic::panic_any("broken") })).await;
        let panic = panicked.expect_err("a panic").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"broken"));
    }
}
