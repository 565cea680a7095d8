"""The command `report`: what is known of jobs and of the wait for them, as a page and as pictures.

`command` asks, `collect` and `recorded` bring facts, `facts` and `timeline` know what they mean, `charts`
says how they are drawn, and `page` and `draw` do it. Only the last two need the extra ``report``.
"""
