// Elements made by hand. Whatever comes from a server or a person becomes text, never markup.

/** An HTML element. `attributes`: `on...` are listeners, true is an empty attribute, false and null none. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children)
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children)
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (name.startsWith('aria-') && value !== null && value !== undefined) element.setAttribute(name, String(value))
    else if (value === true) element.setAttribute(name, '')
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value)
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

export const $ = (id) => document.getElementById(id)

/** Says something for a moment, at the bottom of the page. */
export function note(text, bad = false) {
  const place = $('note')
  place.textContent = text
  place.className = bad ? 'bad shown' : 'shown'
  clearTimeout(note.timer)
  note.timer = setTimeout(() => { place.className = '' }, bad ? 8000 : 4000)
}

/** A box that says what went wrong. */
export function problem(error) {
  return h('p', { role: 'alert', class: 'problem card' }, error.message)
}

export const percent = (share) => (share > 0 && share < 0.001 ? '<0.1' : (100 * share).toFixed(1)) + ' %'

/** Microseconds in the unit that reads best. */
export const time = (us) => (us >= 1000 ? (us / 1000).toFixed(us >= 10000 ? 0 : 1) + ' ms' : Math.round(us) + ' µs')

export const day = (ms) => new Date(Number(ms)).toISOString().slice(0, 16).replace('T', ' ')
