import { For, Match, Show, Switch } from "solid-js";
import { type Dialog, workspaceOf } from "../../core/model/state.ts";
import { basename } from "../../core/paths.ts";
import { go } from "../router.ts";
import { ShareDialog } from "../share/share-dialog.tsx";
import { Confirm, Modal, ModalButtons } from "../widgets/modal.tsx";
import { Conflict } from "./conflict.tsx";
import { KEYS } from "./keys.ts";
import { PathDialog } from "./path-dialog.tsx";
import { QuickOpen } from "./quick-open.tsx";
import { SandboxDialog } from "./sandbox-dialog.tsx";
import type { Workbench } from "./workbench.ts";

type Of<K extends Dialog["kind"]> = Extract<Dialog, { kind: K }>;

/** Names that a question lists; the rest are counted. */
const NAMES = 12;

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
            placeholder={dialog.folder ? "src" : "main.py"}
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
          <Confirm
            title={`Delete ${basename(dialog.file.path)}`}
            text={
              <p>
                <code>{dialog.file.path}</code>
                {dialog.file.is_directory ? " and all that is in it are" : " is"} deleted for good.
              </p>
            }
            yes="Delete"
            onYes={() => void props.bench.files.remove(dialog.file)}
            onClose={close}
          />
        )}
      </Match>
      <Match when={asked("overwrite")} keyed>
        {(dialog) => (
          <Confirm
            title="Replace files"
            text={
              <>
                <p>These exist already. Replace them?</p>
                <ul class="names">
                  <For each={dialog.names.slice(0, NAMES)}>{(name) => <li>{name}</li>}</For>
                  <Show when={dialog.names.length > NAMES}>
                    <li class="quiet">and {dialog.names.length - NAMES} more</li>
                  </Show>
                </ul>
              </>
            }
            yes="Replace"
            onYes={() => void props.bench.uploads.overwrite()}
            onClose={close}
          />
        )}
      </Match>
      <Match when={asked("close")} keyed>
        {(dialog) => (
          <Unsaved
            title={`Close ${basename(tabPath(dialog.fileId))}`}
            text="It has changes that are not saved."
            onClose={close}
            onDiscard={() => props.bench.files.close(dialog.fileId, true)}
            onSave={async () => {
              if (await props.bench.files.save(dialog.fileId)) props.bench.files.close(dialog.fileId, true);
            }}
          />
        )}
      </Match>
      <Match when={asked("leave")} keyed>
        {(dialog) => (
          <Unsaved
            title="Leave this workspace"
            text={`Not saved: ${props.bench.state.tabs
              .filter((tab) => tab.dirty)
              .map((tab) => tab.path)
              .join(", ")}`}
            onClose={close}
            onDiscard={() => {
              props.bench.files.discardAll();
              go(dialog.to);
            }}
            onSave={async () => {
              if (await props.bench.files.saveAll()) go(dialog.to);
            }}
          />
        )}
      </Match>
      <Match when={asked("conflict")} keyed>
        {(dialog) => <Conflict bench={props.bench} dialog={dialog} path={tabPath(dialog.fileId)} onClose={close} />}
      </Match>
      <Match when={asked("open")}>
        <QuickOpen bench={props.bench} onClose={close} />
      </Match>
      <Match when={asked("sandbox")}>
        <SandboxDialog bench={props.bench} onClose={close} />
      </Match>
      <Match when={asked("keys")}>
        <Modal title="Keyboard shortcuts" onClose={close}>
          <dl class="facts">
            <For each={KEYS}>
              {([keys, what]) => (
                <>
                  <dt>
                    <kbd>{keys}</kbd>
                  </dt>
                  <dd>{what}</dd>
                </>
              )}
            </For>
          </dl>
          <ModalButtons>
            <button type="button" class="button primary" data-focus onClick={close}>
              Done
            </button>
          </ModalButtons>
        </Modal>
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

/** Texts would be lost: save them, or not, or stay. */
function Unsaved(props: {
  title: string;
  text: string;
  onClose: () => void;
  onDiscard: () => void;
  onSave: () => Promise<void>;
}) {
  return (
    <Modal title={props.title} onClose={props.onClose}>
      <p>{props.text}</p>
      <ModalButtons>
        <button type="button" class="button" onClick={() => props.onClose()}>
          Cancel
        </button>
        <button
          type="button"
          class="button danger"
          onClick={() => {
            props.onClose();
            props.onDiscard();
          }}
        >
          Discard
        </button>
        <button
          type="button"
          class="button primary"
          data-focus
          onClick={() => {
            props.onClose();
            void props.onSave();
          }}
        >
          Save
        </button>
      </ModalButtons>
    </Modal>
  );
}
