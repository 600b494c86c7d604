/** What somebody sees who has no session: how to get one. The link itself is the server's page. */
export function SignIn(props: { onRetry: () => void }) {
  return (
    <main class="sign-in">
      <img src="/icon.svg" alt="" width="48" height="48" />
      <h1>Sign in to Playhouse</h1>
      <p>
        Open the login link that the server printed when it started, or ask whoever runs it for a fresh one. A link
        works once:
      </p>
      <pre>playhouse login --user NAME</pre>
      <button type="button" class="button" onClick={() => props.onRetry()}>
        I have opened my link
      </button>
    </main>
  );
}
