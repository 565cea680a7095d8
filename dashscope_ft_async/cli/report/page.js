// Puts a chart that can be pointed at in the place of each still one. Without scripts the still ones stay.
(() => {
  const narrow = matchMedia("(max-width: 40rem)");
  const draw = async (figure) => {
    const place = figure.querySelector(".live");
    const spec = JSON.parse(figure.querySelector("script").textContent);
    if (narrow.matches) {
      Object.assign(spec.config.axisY, { labelLimit: 96 });
      Object.assign(spec.config.legend, { columns: 1, layout: { direction: "vertical" } });
    }
    await vegaEmbed(place, spec, {
      ast: true, // expressions are interpreted: the page's policy lets nobody make code of text
      actions: false,
      defaultStyle: false,
      renderer: "svg",
      tooltip: { disableDefaultStyle: true, theme: "report" },
    });
    figure.classList.add("drawn");
  };
  const all = () => document.querySelectorAll("figure").forEach((figure) => draw(figure).catch(console.error));
  narrow.addEventListener("change", all);
  all();
})();
