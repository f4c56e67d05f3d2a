// page_check.js - put into a copy of a page by test_page.sh: what a reader would see, written into the page once it is
// laid out, one finding a line. `want` is set before: {width, dark, open}.
'use strict';
const found = [];
const say = (what, e) => found.push(what + (e ? ': ' + (e.id || e.closest('[id]')?.id || e.tagName) + ' "' +
    (e.textContent || '').trim().slice(0, 50) + '"' : ''));
window.addEventListener('error', e => say('error ' + (e.message || e.target.tagName)), true);
const rgb = s => (s.match(/[\d.]+/g) || []).map(Number);
const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = e => {
  for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c;
  }
  return want.dark ? [18, 18, 18] : [255, 255, 255];
};
const shown = e => e.getClientRects().length > 0;
// Scrolls within itself, so that what is wider than the page can be read.
const scrolls = e => {
  for (; e && e !== document.body; e = e.parentElement) if (/auto|scroll/.test(getComputedStyle(e).overflowX)) return true;
  return false;
};

function texts() {  // every element with text of its own
  let n = 0;
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('svg') || e.tagName === 'SCRIPT' || !shown(e)) continue;
    if (![...e.childNodes].some(c => c.nodeType === 3 && c.data.trim())) continue;
    n++;
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (!scrolls(e) && (box.right > innerWidth + 0.5 || box.left < -0.5)) say('text beyond the page', e);
    if (style.overflowX === 'hidden' && e.scrollWidth > e.clientWidth) say('text cut off', e);
    const a = light(rgb(style.color)), b = light(ground(e)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) say('contrast ' + ratio.toFixed(2), e);
  }
  if (n < 100) say('only ' + n + ' texts');
}

function pictures() {
  const all = document.querySelectorAll('figure svg[role=img]');
  if (all.length !== document.querySelectorAll('figure').length || !all.length) say('pictures without a name');
  for (const svg of all) {
    const box = svg.getBoundingClientRect(), own = svg.viewBox.baseVal;
    if (!(box.width > 40 && box.height > 20)) say('picture not shown', svg);
    if (Math.abs(box.width / box.height - own.width / own.height) > 0.02 * box.width / box.height) say('picture squeezed', svg);
    if (!document.getElementById(svg.getAttribute('aria-labelledby'))?.textContent.trim()) say('picture without a name', svg);
    if (Math.min(...ground(svg).slice(0, 3)) < 250) say('picture on a dark ground', svg);
    for (const t of svg.querySelectorAll('text')) {  // drawn within the picture
      const at = t.getBoundingClientRect();
      const over = Math.max(box.left - at.left, at.right - box.right, box.top - at.top, at.bottom - box.bottom);
      if (over > 0.01 * box.width) say('text beyond its picture by ' + over.toFixed(0), t);
    }
  }
}

function structure() {
  let before = 1;
  for (const h of document.querySelectorAll('h1,h2,h3,h4,h5,h6')) {
    const level = Number(h.tagName[1]);
    if (level > before + 1) say('heading skips a level', h);
    before = level;
  }
  if (document.querySelectorAll('h1').length !== 1 || !document.documentElement.lang) say('no h1 or no language');
  for (const t of document.querySelectorAll('th')) if (!t.scope) say('header without scope', t);
  for (const e of document.querySelectorAll('.pic, .wide, pre'))
    if (e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0) say('scrolls, but not by keys', e);
  for (const a of document.querySelectorAll('a')) {
    if (!document.getElementById(decodeURIComponent(a.hash.slice(1)))) say('link to nothing ' + a.hash);
    if (shown(a) && a.tabIndex < 0) say('link that keys do not reach', a);
  }
}

function large() {  // the figure in the address: larger than those beside it, with its caption
  const f = document.querySelector(':target'), g = f?.nextElementSibling;
  const w = e => e.querySelector('svg').getBoundingClientRect().width;
  if (!f || !g) return say('no target');
  if (innerWidth > 700 && w(f) < 1.5 * w(g)) say('not large');
  if (!shown(f.querySelector('.full')) || shown(g.querySelector('.full'))) say('captions in a row');
  if (!shown(f.querySelector('.turn'))) say('no way back');
}

// Those within pictures, too: each once more, which holds up the load of the page until it is there.
const images = [...document.querySelectorAll('img, image')].map(i => {
  const p = new Image();
  p.src = i.href?.baseVal || i.src;
  return p;
});

function loaded() {
  for (const p of images) if (!p.complete || !p.naturalWidth) say('image not loaded ' + p.src.slice(0, 60));
  const from = performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:'));
  if (from.length) say('loaded from elsewhere ' + from[0].name);
}

window.addEventListener('load', () => {
  if (innerWidth !== want.width) say('width ' + innerWidth);
  if (matchMedia('(prefers-color-scheme: dark)').matches !== want.dark) say('another colour scheme');
  if (document.documentElement.scrollWidth > innerWidth) say('page wider than its window');
  texts(), pictures(), structure(), loaded();
  if (want.open) large();
  const out = document.createElement('pre');
  out.id = 'found';
  out.textContent = found.map(f => 'FOUND ' + f.replace(/\s+/g, ' ') + '\n').join('') + 'CHECKED ' +
      document.querySelectorAll('figure').length;
  document.body.append(out);
});
