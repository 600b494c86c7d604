/** A draggable edge that sets a CSS length on the layout it stands in. Arrow keys move it too. */

const KEY_STEP_PX = 24;

export function Splitter(props: {
  label: string;
  /** `x` changes a width, `y` a height that grows upwards. */
  axis: "x" | "y";
  property: string;
  initial: number;
  least: number;
}) {
  let value = props.initial;
  const apply = (element: HTMLElement, wanted: number): void => {
    const layout = element.closest<HTMLElement>("[data-layout]");
    if (layout === null) return;
    const room = props.axis === "x" ? layout.clientWidth : layout.clientHeight;
    value = Math.max(props.least, Math.min(wanted, room * 0.75));
    layout.style.setProperty(props.property, `${value}px`);
    element.setAttribute("aria-valuenow", String(Math.round(value)));
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: an hr can't be dragged or focused
    <div
      class={`splitter splitter-${props.axis}`}
      role="separator"
      tabIndex={0}
      aria-label={props.label}
      aria-orientation={props.axis === "x" ? "vertical" : "horizontal"}
      aria-valuenow={props.initial}
      onPointerDown={(down) => {
        const element = down.currentTarget;
        element.setPointerCapture(down.pointerId);
        const from = value;
        const move = (event: PointerEvent): void => {
          const by = props.axis === "x" ? event.clientX - down.clientX : down.clientY - event.clientY;
          apply(element, from + by);
        };
        element.addEventListener("pointermove", move);
        element.addEventListener("lostpointercapture", () => element.removeEventListener("pointermove", move), {
          once: true,
        });
      }}
      onKeyDown={(event) => {
        const more = props.axis === "x" ? "ArrowRight" : "ArrowUp";
        const less = props.axis === "x" ? "ArrowLeft" : "ArrowDown";
        if (event.key !== more && event.key !== less) return;
        event.preventDefault();
        apply(event.currentTarget, value + (event.key === more ? KEY_STEP_PX : -KEY_STEP_PX));
      }}
    />
  );
}
