import { Show } from "solid-js";
import type { Dialog } from "../../core/model/state.ts";
import { basename } from "../../core/paths.ts";
import { Difference } from "../editor/difference.tsx";
import { Modal, ModalButtons } from "../widgets/modal.tsx";
import type { Workbench } from "./workbench.ts";

/** A file that was changed or deleted elsewhere while it was edited here: which text wins? */
export function Conflict(props: {
  bench: Workbench;
  dialog: Extract<Dialog, { kind: "conflict" }>;
  path: string;
  onClose: () => void;
}) {
  const mine = props.bench.documents.snapshot(props.dialog.fileId)?.text ?? "";
  const removed = props.dialog.etag === null;
  return (
    <Modal title={`Conflict in ${basename(props.path)}`} wide={!removed} onClose={props.onClose}>
      <p>
        {removed
          ? "This file was deleted while you edited it."
          : "This file was changed elsewhere while you edited it. Nothing is overwritten until you choose."}
      </p>
      <Show when={!removed}>
        <Show
          when={props.dialog.theirs !== null}
          fallback={<p class="quiet">Theirs is no text, or too large to be shown.</p>}
        >
          <div class="difference-heads">
            <span>Theirs, as it is saved now</span>
            <span>Yours, not saved</span>
          </div>
          <Difference mine={mine} theirs={props.dialog.theirs ?? ""} />
        </Show>
      </Show>
      <ModalButtons>
        <button type="button" class="button" data-focus onClick={() => props.onClose()}>
          Go on editing
        </button>
        <Show when={!removed}>
          <button type="button" class="button" onClick={() => void props.bench.files.reload(props.dialog.fileId)}>
            Take theirs
          </button>
        </Show>
        <button
          type="button"
          class="button danger"
          onClick={() => void props.bench.files.overwrite(props.dialog.fileId, props.dialog.etag)}
        >
          {removed ? "Make it anew" : "Keep mine"}
        </button>
      </ModalButtons>
    </Modal>
  );
}
