// Invisible: tells screen readers, hyphenation and fonts which language the page is in.
export default function ({ data }) {
  document.documentElement.lang = data.language;
}
