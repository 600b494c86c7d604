import { createSignal, onMount } from "solid-js";
import { basename } from "../../core/paths.ts";
import { Modal, ModalButtons } from "../widgets/modal.tsx";
import { Trouble } from "../widgets/trouble.tsx";

/** Asks for a path. `onAnswer` answers what is wrong with it, or null when it was taken. */
export function PathDialog(props: {
  title: string;
  label: string;
  value: string;
  placeholder?: string;
  button: string;
  onClose: () => void;
  onAnswer: (typed: string) => Promise<string | null>;
}) {
  const [trouble, setTrouble] = createSignal<string | null>(null);
  const [busy, setBusy] = createSignal(false);
  let input!: HTMLInputElement;
  onMount(() => {
    // What is most often changed is the name, and of it what stands before the dot.
    const name = basename(props.value);
    const dot = name.lastIndexOf(".");
    const start = props.value.length - name.length;
    queueMicrotask(() => input.setSelectionRange(start, dot > 0 ? start + dot : props.value.length));
  });
  return (
    <Modal title={props.title} onClose={props.onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          setBusy(true);
          setTrouble(await props.onAnswer(input.value));
          setBusy(false);
        }}
      >
        <label class="field">
          <span>{props.label}</span>
          <input
            ref={input}
            name="path"
            required
            value={props.value}
            placeholder={props.placeholder}
            spellcheck={false}
            autocomplete="off"
            autocapitalize="off"
            data-focus
          />
        </label>
        <Trouble text={trouble()} />
        <ModalButtons>
          <button type="button" class="button" onClick={() => props.onClose()}>
            Cancel
          </button>
          <button type="submit" class="button primary" disabled={busy()}>
            {props.button}
          </button>
        </ModalButtons>
      </form>
    </Modal>
  );
}
