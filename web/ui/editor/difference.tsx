import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { onCleanup, onMount } from "solid-js";
import { editorTheme } from "./theme.ts";

/** Two versions of a text beside each other, read-only. */
export function Difference(props: { mine: string; theirs: string }) {
  let parent!: HTMLDivElement;
  let gone = false;
  // Registered before the first await: afterwards no owner would be there to call it.
  onCleanup(() => {
    gone = true;
  });
  onMount(async () => {
    const { MergeView } = await import("@codemirror/merge");
    if (gone) return;
    const side = (label: string) => [
      editorTheme,
      EditorState.readOnly.of(true),
      EditorView.editable.of(false),
      // Reachable by keyboard, since it may have to be scrolled.
      EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
    ];
    new MergeView({
      parent,
      a: { doc: props.theirs, extensions: side("Theirs") },
      b: { doc: props.mine, extensions: side("Yours") },
      collapseUnchanged: { margin: 3 },
    });
  });
  return <div class="difference" ref={parent} />;
}
