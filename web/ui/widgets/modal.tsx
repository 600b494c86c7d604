import { createUniqueId, type JSX, onCleanup, onMount } from "solid-js";

/** A modal dialog: the browser's own, which traps the focus and closes on Escape. */
export function Modal(props: { title: string; wide?: boolean; onClose: () => void; children: JSX.Element }) {
  const heading = createUniqueId();
  let element!: HTMLDialogElement;
  const before = document.activeElement;
  onMount(() => {
    element.showModal();
    element.querySelector<HTMLElement>("[data-focus]")?.focus();
  });
  onCleanup(() => {
    element.close();
    // It is taken out of the page at once, so the browser does not give the focus back by itself.
    queueMicrotask(() => {
      if (document.activeElement === document.body && before instanceof HTMLElement) before.focus();
    });
  });
  return (
    <dialog
      ref={element}
      class="modal"
      classList={{ wide: props.wide ?? false }}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
    >
      <h2 id={heading}>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** The row of buttons at a dialog's end. */
export function ModalButtons(props: { children: JSX.Element }) {
  return <div class="modal-buttons">{props.children}</div>;
}

/** Words for a yes or no; the focus is on no. */
export function Confirm(props: {
  title: string;
  text: JSX.Element;
  yes: string;
  onYes: () => void;
  onClose: () => void;
}) {
  return (
    <Modal title={props.title} onClose={props.onClose}>
      <div>{props.text}</div>
      <ModalButtons>
        <button type="button" class="button" data-focus onClick={() => props.onClose()}>
          Cancel
        </button>
        <button type="button" class="button danger" onClick={() => props.onYes()}>
          {props.yes}
        </button>
      </ModalButtons>
    </Modal>
  );
}
