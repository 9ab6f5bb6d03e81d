"use strict";
// The figures: the plotting library is unpacked, checked against the page's policy, and draws.
(async () => {
  const packed = document.getElementById("plotly");
  const figures = JSON.parse(document.getElementById("figures-data").textContent);
  const places = figures.map((figure) => document.getElementById(figure.id));
  const fail = (why) => places.forEach((place) => (place.textContent = `The figure cannot be drawn: ${why}`));

  if (typeof DecompressionStream === "undefined") return fail("this browser is too old (before 2023).");
  const bytes = Uint8Array.from(atob(packed.textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const library = document.createElement("script");
  library.textContent = await new Response(stream).text();
  document.head.append(library);
  packed.remove();
  if (typeof Plotly === "undefined") return fail("the plotting library was refused.");

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: of("--line"), linecolor: of("--faint"), zerolinecolor: of("--faint") };
    return { text: of("--text"), ground: of("--ground"), axis };
  };
  const layout = (figure) => {
    const { text, ground, axis } = colours();
    const made = { ...figure.layout, paper_bgcolor: ground, plot_bgcolor: ground };
    made.font = { color: text, family: "system-ui, sans-serif", size: 13 };
    made.hoverlabel = { bgcolor: ground, bordercolor: text, font: { color: text } };
    made.xaxis = { ...figure.layout.xaxis, ...axis };
    made.yaxis = { ...figure.layout.yaxis, ...axis };
    return made;
  };
  const options = {
    displaylogo: false,
    responsive: true,
    displayModeBar: false,
    showEditInChartStudio: false,
    scrollZoom: false,
    plotlyServerURL: "",
  };
  for (const [index, figure] of figures.entries()) {
    await Plotly.newPlot(places[index], figure.data, layout(figure), options);
    places[index].dataset.drawn = "yes";
  }
  const again = () => figures.forEach((figure, index) => Plotly.relayout(places[index], layout(figure)));
  document.addEventListener("recoloured", again);
  const controls = document.getElementById("controls");
  const filter = () => {
    figures.forEach((figure, index) => {
      const traces = figure.data.flatMap((trace, at) => (trace.meta === "control" ? [at] : []));
      if (traces.length) Plotly.restyle(places[index], { visible: controls.checked }, traces);
    });
  };
  document.addEventListener("filtered", filter);
  if (!controls.checked) filter(); // it was changed while the library was unpacked
})();
