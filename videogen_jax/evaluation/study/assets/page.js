"use strict";
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const questions = Object.keys(study.questions);
  const byId = (id) => document.getElementById(id);
  const storageKey = "videogen-study-" + study.study;
  const saved = restore();
  let annotator = saved.annotator;
  const votes = saved.votes; // by pair, counted from 1, and by question: 1 or 2
  let at = 0; // the pair that is shown
  let urls = []; // of the shown videos, to be given back

  function restore() {
    try {
      const found = JSON.parse(localStorage.getItem(storageKey));
      if (found && typeof found.annotator === "string" && found.votes) return found;
      localStorage.setItem(storageKey, JSON.stringify({ annotator: "", votes: {} }));
    } catch {
      byId("unsaved").hidden = false;
    }
    return { annotator: "", votes: {} };
  }

  function keep() {
    try {
      localStorage.setItem(storageKey, JSON.stringify({ annotator, votes }));
    } catch {
      byId("unsaved").hidden = false;
    }
  }

  const answersOf = (pair) => votes[pair + 1] || {};
  const isAnswered = (pair) => questions.every((name) => answersOf(pair)[name]);
  const answeredPairs = () => study.pairs.filter((_, pair) => isAnswered(pair)).length;
  const firstOpen = () => study.pairs.findIndex((_, pair) => !isAnswered(pair));

  function show(name) {
    for (const id of ["start", "compare", "done"]) byId(id).hidden = id !== name;
    if (name !== "compare") clearVideos();
    scrollTo(0, 0);
  }

  function clearVideos() {
    for (const place of [0, 1]) byId("frame-" + place).replaceChildren();
    urls.forEach((url) => URL.revokeObjectURL(url));
    urls = [];
  }

  function address(source) {
    if (source.file) return source.file;
    const bytes = Uint8Array.from(atob(source.data), (letter) => letter.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type: source.type }));
    urls.push(url);
    return url;
  }

  function element(source, place) {
    const label = "Video " + (place + 1);
    if (source.type.startsWith("image/")) {
      const image = new Image();
      image.alt = label;
      image.src = address(source);
      return image;
    }
    const video = document.createElement("video");
    Object.assign(video, { muted: true, loop: true, playsInline: true, preload: "auto" });
    video.setAttribute("aria-label", label);
    // Who asked for less motion starts the videos by hand.
    video.controls = lessMotion();
    video.src = address(source);
    return video;
  }

  const lessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const shownVideos = () => [...document.querySelectorAll(".frame video")];

  // Starts both videos together, once the last one is ready.
  function playTogether() {
    const shown = shownVideos();
    const play = () => {
      const ready = shown.every((video) => video.readyState >= video.HAVE_FUTURE_DATA);
      if (ready && shown.every((video) => video.paused)) shown.forEach(playOne);
    };
    shown.forEach((video) => video.addEventListener("canplay", play, { once: true }));
  }

  function playOne(video) {
    video.play().catch(() => { video.controls = true; });
  }

  function showPair(pair) {
    at = pair;
    clearVideos();
    const { prompt, videos } = study.pairs[pair];
    byId("prompt").textContent = prompt;
    byId("position").textContent = `Pair ${pair + 1} of ${study.pairs.length}`;
    videos.forEach((source, place) => byId("frame-" + place).append(element(source, place)));
    if (!lessMotion()) playTogether();
    for (const name of questions) {
      for (const input of byId("questions").elements[name]) {
        input.checked = Number(input.value) === answersOf(pair)[name];
      }
    }
    update();
    show("compare");
    byId("status").textContent = `Pair ${pair + 1} of ${study.pairs.length}. ${prompt}`;
  }

  function update() {
    const open = questions.find((name) => !answersOf(at)[name]);
    for (const name of questions) byId("question-" + name).classList.toggle("current", name === open);
    byId("next").disabled = Boolean(open);
    byId("back").disabled = at === 0;
    byId("progress").max = study.pairs.length;
    byId("progress").value = answeredPairs();
  }

  function answer(name, value) {
    votes[at + 1] = { ...answersOf(at), [name]: value };
    for (const input of byId("questions").elements[name]) input.checked = Number(input.value) === value;
    keep();
    update();
    byId("status").textContent = `${study.questions[name]} Video ${value}`;
  }

  function next() {
    if (!isAnswered(at)) return;
    if (at + 1 < study.pairs.length) showPair(at + 1);
    else finish();
  }

  function finish() {
    const open = firstOpen();
    if (open >= 0) return showPair(open);
    byId("summary").textContent =
      `You have compared all ${study.pairs.length} pairs. Please save your answers now.`;
    byId("filename").textContent = filename();
    show("done");
    document.querySelector("#done h1").focus();
  }

  function replay() {
    shownVideos().forEach((video) => { video.currentTime = 0; playOne(video); });
    for (const image of document.querySelectorAll(".frame img")) image.src += ""; // from its start
  }

  function filename() {
    const name = annotator.normalize("NFKD").replace(/[^\w-]+/g, "_").replace(/^_+|_+$/g, "");
    return `votes-${name}-${study.study.slice(0, 6)}.json`;
  }

  function save() {
    const result = { kind: study.kind, study: study.study, annotator, votes };
    const url = URL.createObjectURL(
      new Blob([JSON.stringify(result, null, 1)], { type: "application/json" }),
    );
    const link = Object.assign(document.createElement("a"), { href: url, download: filename() });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    byId("status").textContent = "Saved " + filename();
  }

  function makeQuestions() {
    for (const name of questions) {
      const group = document.createElement("fieldset");
      group.id = "question-" + name;
      const legend = document.createElement("legend");
      legend.textContent = study.questions[name];
      const choices = document.createElement("div");
      choices.className = "choices";
      for (const value of [1, 2]) {
        const label = document.createElement("label");
        const input = Object.assign(document.createElement("input"), { type: "radio", name, value });
        input.addEventListener("change", () => answer(name, value));
        label.append(input, "Video " + value);
        choices.append(label);
      }
      group.append(legend, choices);
      byId("questions").append(group);
    }
  }

  const keys = {
    compare: {
      1: () => answerCurrent(1),
      2: () => answerCurrent(2),
      r: replay,
      enter: next,
      backspace: () => { if (at > 0) showPair(at - 1); },
    },
    done: { s: save, backspace: () => showPair(study.pairs.length - 1) },
  };

  function answerCurrent(value) {
    const name = questions.find((question) => !answersOf(at)[question]);
    if (name) answer(name, value);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = ["compare", "done"].find((id) => !byId(id).hidden);
    const key = event.key.toLowerCase();
    const action = page && keys[page][key];
    // Enter on a button or a radio is its own click, and presses of a held key are not answers.
    if (!action || event.repeat || (key === "enter" && event.target.matches("button"))) return;
    event.preventDefault();
    action();
  });

  byId("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    annotator = byId("annotator").value.trim();
    if (!annotator) return byId("annotator").focus();
    keep();
    const open = firstOpen();
    if (open < 0) finish();
    else showPair(open);
    document.activeElement.blur(); // so that the keys are those of the page
  });
  byId("questions").addEventListener("submit", (event) => event.preventDefault());
  byId("next").addEventListener("click", next);
  byId("back").addEventListener("click", () => showPair(at - 1));
  byId("replay").addEventListener("click", replay);
  byId("export").addEventListener("click", save);
  byId("review").addEventListener("click", () => showPair(study.pairs.length - 1));

  byId("count").textContent = study.pairs.length;
  byId("annotator").value = annotator;
  makeQuestions();
  show("start");
  byId("annotator").focus();
})();
