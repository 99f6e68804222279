"use strict";
// Draws a race of optimizers on canvases. The data come with the page.

const race = JSON.parse(document.getElementById("race").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const [play, slider, speed, now] = ["play", "step", "speed", "now"].map((id) => document.getElementById(id));
let step = 0, playing = !calm.matches, last = null;

const panels = race.surfaces.map((surface) => {
  const figure = document.createElement("figure");
  const title = document.createElement("figcaption");
  title.textContent = `${surface.name}: ${surface.formula}`;
  const [map, heights] = [1, 0.5].map((aspect) => {
    const canvas = document.createElement("canvas");
    canvas.dataset.aspect = aspect;
    canvas.setAttribute("role", "img");
    return canvas;
  });
  map.setAttribute("aria-label", `Paths of the optimizers on ${surface.name}`);
  heights.setAttribute("aria-label", `Heights of the optimizers on ${surface.name}, over the steps`);
  figure.append(title, map, heights);
  document.getElementById("panels").append(figure);
  return { surface, map, heights };
});

function colour(optimizer) { return dark.matches ? optimizer.dark : optimizer.light; }

function legend() {
  const items = race.optimizers.map((optimizer) => {
    const item = document.createElement("span");
    const line = document.createElement("canvas");
    line.width = 36; line.height = 10;
    const ink = line.getContext("2d");
    ink.strokeStyle = colour(optimizer); ink.lineWidth = 3; ink.setLineDash(optimizer.dash);
    ink.beginPath(); ink.moveTo(0, 5); ink.lineTo(36, 5); ink.stroke();
    item.append(line, optimizer.name);
    return item;
  });
  document.getElementById("legend").replaceChildren(...items);
}

function prepared(canvas) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = width * canvas.dataset.aspect;
  canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = `${height}px`;
  const ink = canvas.getContext("2d");
  ink.scale(ratio, ratio);
  ink.strokeStyle = dark.matches ? "#3a424a" : "#d0d7de";
  ink.strokeRect(0.5, 0.5, width - 1, height - 1);
  return [ink, width, height];
}

function line(ink, points) {
  ink.beginPath();
  points.forEach(([x, y], i) => (i ? ink.lineTo(x, y) : ink.moveTo(x, y)));
  ink.stroke();
}

function dot(ink, [x, y], radius) { ink.beginPath(); ink.arc(x, y, radius, 0, 2 * Math.PI); ink.fill(); }

function drawMap({ surface, map }) {
  const [ink, width, height] = prepared(map);
  const place = ([x, y]) => [
    ((x - surface.x[0]) / (surface.x[1] - surface.x[0])) * width,
    (1 - (y - surface.y[0]) / (surface.y[1] - surface.y[0])) * height,
  ];
  ink.lineWidth = 0.7;
  ink.strokeStyle = dark.matches ? "#565d65" : "#c4c8cc";
  surface.contours.forEach((contour) => line(ink, contour.map(place)));
  ink.fillStyle = dark.matches ? "#e6e8ea" : "#1b1f23";
  ink.strokeStyle = ink.fillStyle;
  const [x0, y0] = place(surface.start);
  ink.beginPath(); ink.arc(x0, y0, 5, 0, 2 * Math.PI); ink.stroke();
  surface.minima.map(place).forEach(([x, y]) => {
    line(ink, [[x - 5, y], [x + 5, y]]);
    line(ink, [[x, y - 5], [x, y + 5]]);
  });
  race.optimizers.forEach((optimizer, i) => {
    const path = surface.paths[i].slice(0, step + 1).map(place);
    ink.strokeStyle = ink.fillStyle = colour(optimizer);
    ink.lineWidth = 1.8; ink.setLineDash(optimizer.dash);
    line(ink, path);
    dot(ink, path[path.length - 1], 4.5);
  });
}

function drawHeights({ surface, heights }) {
  const [ink, width, height] = prepared(heights);
  const every = surface.heights.flat(), low = Math.log(Math.min(...every)), high = Math.log(Math.max(...every));
  race.optimizers.forEach((optimizer, i) => {
    const points = surface.heights[i].slice(0, step + 1).map((value, at) => [
      (at / race.steps) * (width - 10) + 5,
      height - 5 - ((Math.log(value) - low) / (high - low)) * (height - 10),
    ]);
    ink.strokeStyle = ink.fillStyle = colour(optimizer);
    ink.lineWidth = 1.5; ink.setLineDash(optimizer.dash);
    line(ink, points);
    dot(ink, points[points.length - 1], 3);
  });
}

function draw() {
  panels.forEach((panel) => { drawMap(panel); drawHeights(panel); });
  slider.value = step;
  now.textContent = step;
  play.textContent = playing ? "Pause" : step >= race.steps ? "Again" : "Play";
}

let progress = 0;
function tick(time) {
  if (!playing) { last = null; return; }
  progress += last === null ? 0 : ((time - last) / 1000) * speed.value;
  last = time;
  step = Math.min(race.steps, Math.floor(progress));
  if (step >= race.steps) playing = false;
  draw();
  requestAnimationFrame(tick);
}

play.addEventListener("click", () => {
  if (!playing && step >= race.steps) step = progress = 0;
  playing = !playing;
  draw();
  if (playing) requestAnimationFrame(tick);
});
slider.addEventListener("input", () => { playing = false; step = progress = Number(slider.value); draw(); });
for (const query of [dark, calm]) query.addEventListener("change", () => { legend(); draw(); });
addEventListener("resize", draw);
legend();
draw();
if (playing) requestAnimationFrame(tick);
