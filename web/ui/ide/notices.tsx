import { For } from "solid-js";
import { IconButton } from "../widgets/icons.tsx";
import type { Workbench } from "./workbench.ts";

/** What went wrong, and what a person should know; each stays until it is read. */
export function Notices(props: { bench: Workbench }) {
  return (
    <ul class="notices" aria-label="Notices" aria-live="polite">
      <For each={props.bench.state.notices}>
        {(notice) => (
          <li class={`notice notice-${notice.tone}`}>
            <span class="grow">{notice.text}</span>
            <IconButton
              icon="close"
              label="Dismiss"
              onClick={() => props.bench.context.dispatch({ type: "notice_read", id: notice.id })}
            />
          </li>
        )}
      </For>
    </ul>
  );
}
