import type { Me } from "../core/api-types.ts";
import { Modal, ModalButtons } from "./widgets/modal.tsx";

/** What somebody sees who has no session: how to get one. The link itself is the server's page. */
export function SignIn(props: { onRetry: () => void }) {
  return (
    <main class="sign-in">
      <img src="/icon.svg" alt="" width="48" height="48" />
      <h1>Sign in to Playhouse</h1>
      <p>
        Open the login link that the server printed when it started. It works once. For a fresh one, run this on the
        server’s machine, or ask whoever runs it:
      </p>
      <pre>playhouse login --user NAME</pre>
      <button type="button" class="button primary" onClick={() => props.onRetry()}>
        I have opened my link
      </button>
    </main>
  );
}

/** The session ended under a page that may hold unsaved texts: they stay until somebody is signed in again. */
export function SignInAgain(props: { me: Me; onRetry: () => void }) {
  return (
    <Modal title="Your session has ended" onClose={() => undefined}>
      <p>What you see is kept. Open a fresh login link in another tab, then go on here:</p>
      <pre class="command">playhouse login --user {props.me.name}</pre>
      <ModalButtons>
        <button type="button" class="button primary" data-focus onClick={() => props.onRetry()}>
          I have opened my link
        </button>
      </ModalButtons>
    </Modal>
  );
}
