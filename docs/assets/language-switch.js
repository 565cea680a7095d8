// The theme loads the sitemap of each language, which a folder cannot serve. Without these elements it does not;
// the language switch in the header is a plain link.
for (const link of document.querySelectorAll("link[rel=alternate][hreflang]")) link.remove();
