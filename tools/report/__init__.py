"""The report site: static pages made from the result files, by the words and numbers of the Markdown tables."""
