import { createSignal, For, Match, Show, Switch } from "solid-js";
import { type Dialog, workspaceOf } from "../../core/model/state.ts";
import { basename } from "../../core/paths.ts";
import { Difference } from "../editor/difference.tsx";
import { ShareDialog } from "../share/share-dialog.tsx";
import { Modal, ModalButtons } from "../widgets/modal.tsx";
import type { Workbench } from "./workbench.ts";

type Of<K extends Dialog["kind"]> = Extract<Dialog, { kind: K }>;

/** The question that is open, if any. */
export function Dialogs(props: { bench: Workbench }) {
  const asked = <K extends Dialog["kind"]>(kind: K): Of<K> | undefined => {
    const { dialog } = props.bench.state;
    return dialog?.kind === kind ? (dialog as Of<K>) : undefined;
  };
  const close = (): void => props.bench.context.dispatch({ type: "dialog", dialog: null });
  const tabPath = (fileId: string): string =>
    props.bench.state.tabs.find((tab) => tab.fileId === fileId)?.path ?? "this file";
  return (
    <Switch>
      <Match when={asked("create")} keyed>
        {(dialog) => (
          <PathDialog
            title={dialog.folder ? "New folder" : "New file"}
            label={dialog.directory === "/" ? "Path" : `Path in ${dialog.directory}`}
            value=""
            button="Create"
            onClose={close}
            onAnswer={(typed) => props.bench.files.create(dialog.directory, typed, dialog.folder)}
          />
        )}
      </Match>
      <Match when={asked("move")} keyed>
        {(dialog) => (
          <PathDialog
            title={`Rename or move ${basename(dialog.file.path)}`}
            label="New path"
            value={dialog.file.path}
            button="Move"
            onClose={close}
            onAnswer={(typed) => props.bench.files.move(dialog.file, typed)}
          />
        )}
      </Match>
      <Match when={asked("delete")} keyed>
        {(dialog) => (
          <Modal title={`Delete ${basename(dialog.file.path)}`} onClose={close}>
            <p>
              {dialog.file.path}
              {dialog.file.is_directory ? " and all that is in it are" : " is"} deleted for good.
            </p>
            <ModalButtons>
              <button type="button" class="button" data-focus onClick={close}>
                Cancel
              </button>
              <button type="button" class="button danger" onClick={() => void props.bench.files.remove(dialog.file)}>
                Delete
              </button>
            </ModalButtons>
          </Modal>
        )}
      </Match>
      <Match when={asked("overwrite")} keyed>
        {(dialog) => (
          <Modal title="Replace files" onClose={close}>
            <p>Some of these exist already. Replace them?</p>
            <ul class="names">
              <For each={dialog.names.slice(0, 12)}>{(name) => <li>{name}</li>}</For>
              <Show when={dialog.names.length > 12}>
                <li class="quiet">and {dialog.names.length - 12} more</li>
              </Show>
            </ul>
            <ModalButtons>
              <button type="button" class="button" data-focus onClick={close}>
                Cancel
              </button>
              <button type="button" class="button danger" onClick={() => void props.bench.files.overwriteUpload()}>
                Replace
              </button>
            </ModalButtons>
          </Modal>
        )}
      </Match>
      <Match when={asked("close")} keyed>
        {(dialog) => (
          <Modal title={`Close ${basename(tabPath(dialog.fileId))}`} onClose={close}>
            <p>It has changes that are not saved.</p>
            <ModalButtons>
              <button type="button" class="button" onClick={close}>
                Cancel
              </button>
              <button
                type="button"
                class="button danger"
                onClick={() => {
                  close();
                  props.bench.files.close(dialog.fileId, true);
                }}
              >
                Discard
              </button>
              <button
                type="button"
                class="button primary"
                data-focus
                onClick={async () => {
                  close();
                  if (await props.bench.files.save(dialog.fileId)) props.bench.files.close(dialog.fileId, true);
                }}
              >
                Save
              </button>
            </ModalButtons>
          </Modal>
        )}
      </Match>
      <Match when={asked("conflict")} keyed>
        {(dialog) => <Conflict bench={props.bench} dialog={dialog} path={tabPath(dialog.fileId)} onClose={close} />}
      </Match>
      <Match when={asked("share") && workspaceOf(props.bench.state)}>
        {(workspace) => (
          <ShareDialog
            api={props.bench.context.api}
            workspace={workspace()}
            onChanged={() => void props.bench.refresh()}
            onClose={close}
          />
        )}
      </Match>
    </Switch>
  );
}

function Conflict(props: { bench: Workbench; dialog: Of<"conflict">; path: string; onClose: () => void }) {
  const mine = props.bench.documents.snapshot(props.dialog.fileId)?.text ?? "";
  const removed = props.dialog.etag === null;
  return (
    <Modal title={`Conflict in ${basename(props.path)}`} wide={!removed} onClose={props.onClose}>
      <p>
        {removed
          ? "This file was deleted while you edited it."
          : "This file was changed while you edited it. On the left is the saved text, on the right is yours."}
      </p>
      <Show when={props.dialog.theirs}>{(theirs) => <Difference mine={mine} theirs={theirs()} />}</Show>
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

function PathDialog(props: {
  title: string;
  label: string;
  value: string;
  button: string;
  onClose: () => void;
  onAnswer: (typed: string) => Promise<string | null>;
}) {
  const [trouble, setTrouble] = createSignal<string | null>(null);
  return (
    <Modal title={props.title} onClose={props.onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          setTrouble(await props.onAnswer(String(new FormData(event.currentTarget).get("path"))));
        }}
      >
        <label class="field">
          <span>{props.label}</span>
          <input name="path" required value={props.value} spellcheck={false} autocomplete="off" data-focus />
        </label>
        <Show when={trouble()}>
          {(text) => (
            <p class="trouble" role="alert">
              {text()}
            </p>
          )}
        </Show>
        <ModalButtons>
          <button type="button" class="button" onClick={() => props.onClose()}>
            Cancel
          </button>
          <button type="submit" class="button primary">
            {props.button}
          </button>
        </ModalButtons>
      </form>
    </Modal>
  );
}
