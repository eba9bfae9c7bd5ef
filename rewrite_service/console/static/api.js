// Calls of the server. Every post carries the session's secret; nothing is ever put into an address.

const csrf = document.querySelector('meta[name=csrf]').content

async function reply(sent) {
  let got
  try {
    got = await sent
  } catch {
    throw new Error('The console does not answer. Is the server running? Try again in a moment.')
  }
  if (got.status === 401) {
    location.assign('/login')
    throw new Error('You are not logged in any more.')
  }
  const value = await got.json().catch(() => ({ error: `The console answered with status ${got.status}.` }))
  if (!got.ok) throw Object.assign(new Error(value.error), { status: got.status })
  return value
}

/** Calls a method with a message. Throws an Error whose message names the remedy. */
export const call = (method, message) =>
  reply(fetch(`/api/${method}`, {
    method: 'POST', headers: { 'content-type': 'application/json', 'x-csrf-token': csrf }, body: JSON.stringify(message),
  }))

export const get = (path) => reply(fetch(`/api/${path}`))

/** What the page knows of itself: the features' meanings and the scopes of whoever is logged in. */
export const about = get('about').catch(() => ({ features: {}, scopes: [] }))
