"""
Processes of workers: started, watched, renewed and ended by one supervisor, which does no job itself.
"""
