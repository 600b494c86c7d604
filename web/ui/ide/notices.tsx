import { createEffect, For, onCleanup, Show } from "solid-js";
import type { Notice } from "../../core/model/state.ts";
import { IconButton } from "../widgets/icons.tsx";
import type { Workbench } from "./workbench.ts";

/** What is merely told goes by itself after so long, in milliseconds; what failed stays until it is read. */
const INFO_MS = 10_000;

/** What went wrong, what a person should know, and what is on its way. */
export function Notices(props: { bench: Workbench }) {
  return (
    <section class="notices" aria-label="Messages">
      <ul aria-label="Uploads">
        <For each={props.bench.state.transfers}>
          {(transfer) => (
            <li class="notice">
              <div class="grow">
                <span>{transfer.label}</span>
                {/* Without a value it says only that something goes on: folders are read, or the server writes. */}
                <Show when={transfer.sent < transfer.total} fallback={<progress aria-label={transfer.label} />}>
                  <progress aria-label={transfer.label} value={transfer.sent} max={transfer.total} />
                </Show>
              </div>
              <IconButton
                icon="close"
                label={`Cancel: ${transfer.label}`}
                onClick={() => props.bench.uploads.cancel(transfer.id)}
              />
            </li>
          )}
        </For>
      </ul>
      <ul aria-label="Notices" aria-live="polite">
        <For each={props.bench.state.notices}>{(notice) => <NoticeView bench={props.bench} notice={notice} />}</For>
      </ul>
    </section>
  );
}

function NoticeView(props: { bench: Workbench; notice: Notice }) {
  const dismiss = (): void => props.bench.context.dispatch({ type: "notice_read", id: props.notice.id });
  createEffect(() => {
    if (props.notice.tone !== "info") return;
    const timer = setTimeout(dismiss, INFO_MS);
    onCleanup(() => clearTimeout(timer));
  });
  return (
    <li class={`notice notice-${props.notice.tone}`}>
      <div class="grow">
        <span>{props.notice.text}</span>
        <Show when={props.notice.requestId}>
          {(id) => (
            <small class="quiet">
              request <code>{id()}</code>
            </small>
          )}
        </Show>
      </div>
      <IconButton icon="close" label="Dismiss" onClick={dismiss} />
    </li>
  );
}
