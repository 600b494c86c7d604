import { type JSX, Show } from "solid-js";

/** What went wrong, told at once also to those who don't see it; a button that helps may stand beside it. */
export function Trouble(props: { text: string | null; children?: JSX.Element }) {
  return (
    <Show when={props.text}>
      {(text) => (
        <div class="trouble" role="alert">
          <span class="grow">{text()}</span>
          {props.children}
        </div>
      )}
    </Show>
  );
}
